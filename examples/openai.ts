// The official OpenAI client, with a mesh in the place of the network: npm install sealmesh openai
import OpenAI from "openai";
import { connect } from "sealmesh";

const { SEALMESH_JOIN = "", QUESTION = "Who can read my prompt?" } = process.env;

await using mesh = await connect({ join: SEALMESH_JOIN, requireEncryption: true });
const client = new OpenAI({ baseURL: mesh.baseURL, apiKey: "unused", fetch: mesh.fetch });

const { data: stream, response } = await client.chat.completions
  .create({ model: "auto", stream: true, messages: [{ role: "user", content: QUESTION }] })
  .withResponse();
const report = mesh.report(response);
console.log(`answered by ${report.now.host?.slice(0, 10)}, ${report.now.sealed}, ${report.now.route}`);
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? "");
console.log(`\n${(await report).tokens.completion} tokens in ${(await report).ms} ms`);
