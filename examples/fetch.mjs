// Nothing but fetch, with a limit of time and a look at who would be asked: npm install sealmesh
import { connect, isMeshError } from "sealmesh";

const { SEALMESH_JOIN = "", QUESTION = "Who can read my prompt?" } = process.env;
const signal = AbortSignal.timeout(60_000);

const mesh = await connect({ join: SEALMESH_JOIN, signal }).catch((error) => {
  if (!isMeshError(error)) throw error;
  console.error(`${error.code}: ${error.message}. ${error.row.hint}`);
  process.exit(error.row.exit);
});
const [model] = await mesh.models();
for (const { text } of (await mesh.explain(model.id, { signal })).hosts) console.log(text);

const answer = await mesh.fetch(`${mesh.baseURL}/chat/completions`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ model: model.id, messages: [{ role: "user", content: QUESTION }] }),
  signal,
});
const body = await answer.json();
console.log(answer.ok ? body.choices[0].message.content : body.error.message);
console.log(await mesh.report(answer));
await mesh.close();
