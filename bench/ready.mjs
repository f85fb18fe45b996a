// What the bench's own processes have in common: a free port of loopback, one line that says so, and an end with their parent.
import { once } from "node:events";

/** Listens and prints {"event":"ready","port":...,"url":..., ...more}. The process ends when its stdin does, which a dead parent closes. */
export async function sayReady(listening, more = {}) {
  listening.listen(0, "127.0.0.1");
  await once(listening, "listening");
  const { port } = listening.address();
  console.log(JSON.stringify({ event: "ready", port, url: `http://127.0.0.1:${port}`, ...more }));
  endWithParent();
}

export function endWithParent() {
  for (const end of ["end", "close", "error"]) process.stdin.on(end, () => process.exit());
  process.stdin.resume();
}
