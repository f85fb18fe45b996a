/** Every client that is tried; a new one is a driver and a line here. */
import { aiSdkCompatible, aiSdkOpenAi } from "./clients-ai-sdk.ts";
import { langChainChat, langChainResponses } from "./clients-langchain.ts";
import { openAiResponses } from "./clients-openai-responses.ts";
import { openAiChat } from "./clients-openai.ts";
import type { Client } from "./clients.ts";

export const clients: readonly Client[] = [
  openAiChat,
  openAiResponses,
  aiSdkCompatible,
  aiSdkOpenAi,
  langChainChat,
  langChainResponses,
];
