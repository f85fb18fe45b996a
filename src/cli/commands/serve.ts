/** `sealmesh serve`: a node that offers the models of this machine to the mesh. */
import { Option } from "commander";
import { MeshError } from "../../base/errors.ts";
import { defaults } from "../../node/defaults.ts";
import { type Command, repeated } from "../command.ts";
import { addNodeFlags, type NodeProcessFlags } from "../node-flags.ts";

export const serve: Command = {
  name: "serve",
  summary: "offer the models of this machine to a mesh",
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
    command
      .optionsGroup("Models:")
      .addOption(
        new Option(
          "--model <file>",
          "GGUF file to run in the embedded engine, or hf:ORG/REPO/FILE.gguf or an https address, which is downloaded " +
            "first; may be repeated",
        ).argParser(repeated),
      )
      .addOption(
        new Option(
          "--engine <url>",
          "base URL of an OpenAI-compatible server, or its name at its usual port here (ollama, lmstudio, llama-server, " +
            "llama-rpc, vllm, sglang, exo), or NAME=URL, or auto to look for one; may be repeated",
        ).argParser(repeated),
      )
      .option("--engine-key-file <file>", "file with the API key of the engines")
      .option("--ctx-size <tokens>", "context of the embedded engine (default: 4096, or less if the model has less)")
      .option("--cache-dir <directory>", "where downloaded models are kept (default: the platform's place for caches)")
      .option("--hf-token-file <file>", "file with your key for Hugging Face, for models that are not for everybody")
      .option("--max-running <n>", `requests that the engines answer at a time (default: ${defaults.exchangesTotal})`)
      .option("--max-queued <n>", `further requests that wait for a place there (default: ${defaults.queuedTotal})`)
      .option(
        "--coalesce <ms>",
        "seal together what the engine says within so many ms, so that the pace tells less on the way (default: 0)",
      )
      .option(
        "--tpm <place>",
        "TPM 2.0 that makes evidence for those who ask: /dev/tpmrm0, or HOST:PORT of an emulator. Members that ask see its " +
          "certificate, which identifies this machine",
      )
      .option("--software-evidence", "for development: evidence by a key in memory, which proves nothing to anybody");
    addNodeFlags(command);
  },
  async run(given, hardening) {
    const flags = given as Partial<NodeProcessFlags>;
    if ((flags.engine ?? []).length + (flags.model ?? []).length === 0) {
      throw new MeshError("E_USAGE", "nothing to serve: give --model FILE.gguf or --engine URL|auto");
    }
    const { runNode } = await import("../node-process.ts");
    return await runNode("serve", flags, hardening);
  },
};
