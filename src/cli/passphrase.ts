/** Asks for a passphrase on a terminal, without showing it. Files with one are read in node/owner-key.ts. */
import { MeshError } from "../base/errors.ts";

/** What is needed of stdin and stderr. */
export interface Terminal {
  readonly input: Pick<NodeJS.ReadStream, "isTTY" | "setRawMode" | "on" | "off" | "resume" | "pause" | "setEncoding">;
  readonly output: Pick<NodeJS.WriteStream, "write">;
}

/** Characters of a new passphrase: fewer are guessed from a stolen file, a tenth of a second each. */
const leastCharacters = 12;
const mostCharacters = 1_024;

const thisTerminal: Terminal = { input: process.stdin, output: process.stderr };

/** @throws E_USAGE there is no terminal, or Ctrl-C or Ctrl-D was typed */
export async function askPassphrase(question: string, terminal: Terminal = thisTerminal): Promise<string> {
  const { input, output } = terminal;
  if (!input.isTTY)
    throw new MeshError("E_USAGE", "there is no terminal to ask for the passphrase: give --passphrase-file");
  output.write(question);
  input.setEncoding("utf8");
  input.setRawMode(true);
  input.resume();
  try {
    return await typedLine(input);
  } finally {
    input.setRawMode(false);
    input.pause();
    output.write("\n");
  }
}

/**
 * A new one, typed twice.
 * @throws E_USAGE too short, or not the same twice · whatever {@link askPassphrase} throws
 */
export async function askNewPassphrase(terminal: Terminal = thisTerminal): Promise<string> {
  const passphrase = checkedPassphrase(await askPassphrase("New passphrase: ", terminal));
  if ((await askPassphrase("The same again: ", terminal)) === passphrase) return passphrase;
  throw new MeshError("E_USAGE", "the two passphrases differ: nothing was written");
}

/** @throws E_USAGE */
export function checkedPassphrase(passphrase: string): string {
  if (passphrase.length >= leastCharacters) return passphrase;
  throw new MeshError(
    "E_USAGE",
    `a passphrase has ${leastCharacters} characters at least; --no-passphrase goes without`,
  );
}

function typedLine(input: Terminal["input"]): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = "";
    const end = (finish: () => void): void => {
      input.off("data", onData);
      finish();
    };
    const onData = (piece: string): void => {
      for (const character of piece) {
        switch (character) {
          case "\r":
          case "\n":
            return end(() => resolve(line));
          case "\u0003": // Ctrl-C: raw mode makes no signal of it
          case "\u0004":
            return end(() => reject(new MeshError("E_USAGE", "no passphrase was given: nothing was written")));
          case "\u007f":
          case "\b":
            line = line.replace(/.$/su, "");
            break;
          default:
            if (line.length < mostCharacters) line += character;
        }
      }
    };
    input.on("data", onData);
  });
}
