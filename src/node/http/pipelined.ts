/**
 * Requests that come in behind others on one connection (HTTP/1.1 pipelining). Node holds their answers back until those
 * before them are whole, and when the connection ends it closes only the answer whose turn it is: the others would keep for
 * ever what they have, a place among the listeners or an engine at work. Both ports of a node see to that here.
 */
import type { ServerResponse } from "node:http";

/** The answers under way on each connection: one listener for all of them. */
const underWay = new WeakMap<object, Set<ServerResponse>>();

/** Closes the answer with its connection, also when its turn has not come. Calling it again changes nothing. */
export function closeWithConnection(response: ServerResponse): void {
  const connection = response.req.socket; // its own is null until its turn
  const known = underWay.get(connection);
  const answers = known ?? new Set();
  if (!known) {
    underWay.set(connection, answers);
    connection.once("close", () => closeWaiting(answers));
  }
  if (answers.has(response)) return;
  answers.add(response);
  response.once("close", () => answers.delete(response));
}

function closeWaiting(answers: ReadonlySet<ServerResponse>): void {
  for (const answer of answers) {
    if (answer.socket) continue; // node closes this one
    answer.destroy();
    answer.emit("close");
  }
}
