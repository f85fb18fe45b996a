// The AI SDK of Vercel: npm install sealmesh ai @ai-sdk/openai-compatible
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";
import { connect } from "sealmesh";

const { SEALMESH_JOIN = "", QUESTION = "Who can read my prompt?" } = process.env;

const mesh = await connect({ join: SEALMESH_JOIN });
try {
  const models = createOpenAICompatible({ name: "sealmesh", baseURL: mesh.baseURL, fetch: mesh.fetch });
  const { textStream, response } = streamText({ model: models("auto"), prompt: QUESTION });
  for await (const text of textStream) process.stdout.write(text);
  const { host, sealed } = await mesh.report(await response);
  console.log(`\nanswered by ${host?.slice(0, 10)}, ${sealed}`);
} finally {
  await mesh.close();
}
