/** Settings of `serve` alone: which engines, how much of them, and how this machine proves itself. Rows for settings.ts. */
import { defaults } from "../defaults.ts";
import type { Setting } from "./setting.ts";

const group = "Models:";

export const servingSettings: readonly Setting[] = [
  {
    group,
    flag: "model",
    syntax: "--model <file>",
    variable: "MODEL",
    key: "engine.models",
    form: "one",
    repeated: true,
    serveOnly: true,
    doc:
      "GGUF file to run in the embedded engine, or hf:ORG/REPO/FILE.gguf or an https address, which is downloaded first; " +
      "may be repeated",
  },
  {
    group,
    flag: "engine",
    syntax: "--engine <url>",
    variable: "ENGINE",
    key: "engine.urls",
    form: "list",
    repeated: true,
    serveOnly: true,
    doc:
      "base URL of an OpenAI-compatible server, or its name at its usual port here (ollama, lmstudio, llama-server, llama-rpc, " +
      "vllm, sglang, exo), or NAME=URL, or auto to look for one; may be repeated",
  },
  {
    group,
    flag: "engineKeyFile",
    syntax: "--engine-key-file <file>",
    variable: "ENGINE_KEY_FILE",
    key: "engine.key_file",
    credential: "engine-key",
    serveOnly: true,
    doc: "file with the API key of the engines",
  },
  {
    group,
    flag: "ctxSize",
    syntax: "--ctx-size <tokens>",
    variable: "CTX_SIZE",
    key: "engine.ctx_size",
    serveOnly: true,
    doc: "context of the embedded engine",
    standard: "4096, or less if the model has less",
  },
  {
    group,
    flag: "cacheDir",
    syntax: "--cache-dir <directory>",
    variable: "CACHE_DIR",
    key: "models.cache_dir",
    serveOnly: true,
    doc: "where downloaded models are kept",
    standard: "the platform's place for caches",
  },
  {
    group,
    flag: "hfTokenFile",
    syntax: "--hf-token-file <file>",
    variable: "HF_TOKEN_FILE",
    key: "models.hf_token_file",
    credential: "hf-token",
    serveOnly: true,
    doc: "file with your key for Hugging Face, for models that are not for everybody",
  },
  {
    group,
    flag: "maxRunning",
    syntax: "--max-running <n>",
    variable: "MAX_RUNNING",
    key: "engine.max_running",
    serveOnly: true,
    doc: "requests that the engines answer at a time",
    standard: `${defaults.exchangesTotal}`,
  },
  {
    group,
    flag: "maxQueued",
    syntax: "--max-queued <n>",
    variable: "MAX_QUEUED",
    key: "engine.max_queued",
    serveOnly: true,
    doc: "further requests that wait for a place there",
    standard: `${defaults.queuedTotal}`,
  },
  {
    group,
    flag: "coalesce",
    syntax: "--coalesce <ms>",
    variable: "COALESCE",
    key: "engine.coalesce",
    serveOnly: true,
    doc: "seal together what the engine says within so many ms, so that the pace tells less on the way",
    standard: "0",
  },
  {
    group,
    flag: "tpm",
    syntax: "--tpm <place>",
    variable: "TPM",
    key: "attest.tpm",
    serveOnly: true,
    doc:
      "TPM 2.0 that makes evidence for those who ask: /dev/tpmrm0, or HOST:PORT of an emulator. Members that ask see its " +
      "certificate, which identifies this machine",
  },
  {
    group,
    flag: "softwareEvidence",
    syntax: "--software-evidence",
    variable: "SOFTWARE_EVIDENCE",
    key: "attest.software",
    form: "yes",
    serveOnly: true,
    doc: "for development: evidence by a key in memory, which proves nothing to anybody",
  },
  {
    group: "file",
    key: "attest.tpm_certificates",
    doc: "certificates between the TPM's own and its maker's root",
  },
  {
    group: "file",
    key: "attest.refresh",
    time: true,
    doc: "how often evidence is made anew",
    standard: `${defaults.evidenceRefreshMs / 1_000} s`,
  },
];
