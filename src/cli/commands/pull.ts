/** `sealmesh pull MODEL`: downloads a model and prints where it is. Starts no node; `serve --model` then finds it there. */
import { MeshError } from "../../base/errors.ts";
import type { DownloadedFile } from "../../engine/download.ts";
import { type DownloadFlags, modelDownload } from "../../node/config.ts";
import { fetchModel } from "../../node/models.ts";
import { type Command, takesWord } from "../command.ts";
import { checkedText } from "../log.ts";
import { printJson, printLine, printNote } from "../output.ts";
import { downloadStep, progressBar, sizeText } from "../progress.ts";

interface PullFlags extends DownloadFlags {
  readonly model?: string;
  readonly json?: boolean;
}

export const pull: Command = {
  description:
    "Downloads a GGUF file of Hugging Face or from an https address into the cache directory and prints its path. What was " +
    "broken off is gone on with, and what is there already is not asked for again. `serve --model` does the same by itself. " +
    "Deleting the file is all that it takes to be rid of it.",
  examples: [
    { what: "a file of Hugging Face", line: "sealmesh pull hf:ORG/REPO/FILE.gguf" },
    { what: "as it was at one commit", line: "sealmesh pull hf:ORG/REPO@0123abc/FILE.gguf" },
    { what: "from elsewhere, held to its checksum", line: "sealmesh pull 'https://example.org/FILE.gguf#sha256=HEX'" },
  ],
  addFlags: (command) =>
    takesWord(command, "model", "<model>", "hf:ORG/REPO[@REVISION]/FILE.gguf, or https://.../FILE.gguf[#sha256=HEX]")
      .option("--json", "one JSON document")
      .option("--cache-dir <directory>", "where models are kept (default: the platform's place for caches)")
      .option("--hf-token-file <file>", "file with your key for Hugging Face, instead of HF_TOKEN")
      .option("--config <file>", "configuration file, whose [models] counts; none: no file"),
  async run(given) {
    const { model = "", json = false, ...flags } = given as PullFlags;
    const download = modelDownload(model, flags);
    if (!download) {
      const what = "hf:ORG/REPO/FILE.gguf or an https address";
      throw new MeshError("E_USAGE", `\`sealmesh pull\` takes ${what}, not "${model}"; a file here needs no pull`);
    }
    const bar = progressBar({ shown: true });
    let files: readonly [DownloadedFile, ...DownloadedFile[]];
    try {
      files = await fetchModel(download, { onProgress: (progress) => bar.show(downloadStep(progress)) });
    } finally {
      bar.clear();
    }
    if (json) printJson(document(files));
    else {
      for (const file of files) printNote(text(file));
      printLine(files[0].path);
    }
    return 0;
  },
};

function document(files: readonly [DownloadedFile, ...DownloadedFile[]]): unknown {
  return {
    path: files[0].path,
    files: files.map(({ path, bytes, sha256, checkedBy, fetched }) => {
      return { path, bytes, sha256, checked_by: checkedBy, fetched };
    }),
  };
}

function text({ bytes, sha256, checkedBy, fetched }: DownloadedFile): string {
  return `${fetched ? "downloaded" : "already here"}: ${sizeText(bytes)}, SHA-256 ${sha256} ${checkedText[checkedBy]}`;
}
