/** `sealmesh serve`: a node that offers the models of this machine to the mesh. */
import type { Command } from "../command.ts";
import { addNodeFlags, addServingFlags, type NodeProcessFlags } from "../node-flags.ts";

export const serve: Command = {
  description:
    "Offers the models of an engine to a mesh, and every model of the mesh to this machine at http://127.0.0.1:9337/v1. " +
    "Prints an invite that admits other nodes. SIGTERM or Control-C lets running requests finish, then leaves the mesh; " +
    "a second one stops at once.",
  examples: [
    { what: "a GGUF file, with the embedded llama.cpp", line: "sealmesh serve --model file.gguf" },
    { what: "one of Hugging Face, downloaded first", line: "sealmesh serve --model hf:ORG/REPO/FILE.gguf" },
    { what: "the models of a running Ollama", line: "sealmesh serve --engine http://127.0.0.1:11434/v1" },
    { what: "a vLLM that spans machines", line: "sealmesh serve --engine vllm=http://10.0.0.5:8000/v1" },
    { what: "whatever Ollama, LM Studio, llama-server or vLLM run here", line: "sealmesh serve --engine auto" },
    { what: "a second host in the mesh of the first", line: "sealmesh serve --engine auto --join-file invite.txt" },
    { what: "a host that proves what it can to those who ask", line: "sealmesh serve --engine auto --tpm /dev/tpmrm0" },
  ],
  addFlags(command) {
    addServingFlags(command);
    addNodeFlags(command);
  },
  async run(given, hardening) {
    const { runNode } = await import("../node-process.ts");
    return await runNode("serve", given as Partial<NodeProcessFlags>, hardening);
  },
};
