// From CommonJS, on Node.js 20.19 and later: npm install sealmesh openai
const { OpenAI } = require("openai");
const { connect } = require("sealmesh");

async function main({ SEALMESH_JOIN = "", QUESTION = "Who can read my prompt?" }) {
  const mesh = await connect({ join: SEALMESH_JOIN });
  const client = new OpenAI({ baseURL: mesh.baseURL, apiKey: "unused", fetch: mesh.fetch });
  const messages = [{ role: "user", content: QUESTION }];
  const { choices } = await client.chat.completions.create({ model: "auto", messages });
  console.log(choices[0].message.content);
  await mesh.close();
}

void main(process.env);
