// LangChain: npm install sealmesh @langchain/openai @langchain/core
import { StringOutputParser } from "@langchain/core/output_parsers";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import { ChatOpenAI } from "@langchain/openai";
import { connect } from "sealmesh";

const { SEALMESH_JOIN = "", QUESTION = "Who can read my prompt?" } = process.env;

const mesh = await connect({ join: SEALMESH_JOIN });
try {
  const model = new ChatOpenAI({
    model: "auto",
    apiKey: "unused",
    configuration: { baseURL: mesh.baseURL, fetch: mesh.fetch },
  });
  const chain = ChatPromptTemplate.fromTemplate("{question}").pipe(model).pipe(new StringOutputParser());
  console.log(await chain.invoke({ question: QUESTION }));
} finally {
  await mesh.close();
}
