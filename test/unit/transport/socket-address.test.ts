import { expect, test } from "vitest";
import { parseSocketAddress } from "../../../src/transport/socket-address.ts";

test.each([
  ["0.0.0.0:0", "0.0.0.0", 0],
  ["192.0.2.1:65535", "192.0.2.1", 65_535],
  ["[::1]:4433", "::1", 4433],
  ["[2001:db8::1]:1", "2001:db8::1", 1],
])("%s is an address", (text, host, port) => {
  expect(parseSocketAddress(text)).toEqual({ host, port });
});

test.each([
  "",
  "127.0.0.1",
  "127.0.0.1:",
  "127.0.0.1:65536",
  "localhost:1",
  "::1:1",
  "[127.0.0.1]:1",
  "[::1]",
  "1.2.3:4",
  "127.0.0.1:-1",
  " 127.0.0.1:1",
])("%j is none", (text) => {
  expect(parseSocketAddress(text)).toBeUndefined();
});
