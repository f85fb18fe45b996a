import { expect, test } from "vitest";
import { gate, queue } from "../../../src/transport/queue.ts";

test("values come in order, before and after somebody waits for them", async () => {
  const numbers = queue<number>();
  numbers.push(1);
  numbers.push(2);
  const iterator = numbers.values()[Symbol.asyncIterator]();
  expect([(await iterator.next()).value, (await iterator.next()).value]).toEqual([1, 2]);
  const third = iterator.next();
  numbers.push(3);
  expect((await third).value).toBe(3);
});

test("the end comes at once and drops what waits", async () => {
  const numbers = queue<number>();
  const waiting = numbers.values()[Symbol.asyncIterator]().next();
  numbers.end();
  expect((await waiting).done).toBe(true);

  const others = queue<number>();
  others.push(1);
  others.end();
  others.push(2);
  expect((await others.values()[Symbol.asyncIterator]().next()).done).toBe(true);
});

test("a gate lets in as many as leave", async () => {
  const two = gate(2);
  await two.enter();
  await two.enter();
  let entered = 0;
  void two.enter().then(() => (entered += 1));
  void two.enter().then(() => (entered += 1));
  await Promise.resolve();
  expect(entered).toBe(0);
  two.leave();
  await Promise.resolve();
  await Promise.resolve();
  expect(entered).toBe(1);
});
