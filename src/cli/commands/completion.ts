/** `sealmesh completion`: prints a script with which a shell completes our commands and flags. Made from the parser's own table. */
import { MeshError } from "../../base/errors.ts";
import { commandTree, type TreeCommand } from "../command-tree.ts";
import { type Command, takesWord } from "../command.ts";
import { bashScript } from "../completion/bash.ts";
import { fishScript } from "../completion/fish.ts";
import { powershellScript } from "../completion/powershell.ts";
import { zshScript } from "../completion/zsh.ts";
import { printJson } from "../output.ts";

const shells: Readonly<Record<string, (root: TreeCommand) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
  powershell: powershellScript,
};

interface CompletionFlags {
  readonly shell: string;
  readonly json?: boolean;
}

export const completion: Command = {
  description:
    "Prints a completion script for one shell. It has all commands and flags of this version: load it anew after an " +
    "update, or let the shell make it at its start, as the examples do.",
  examples: [
    { what: "bash, in ~/.bashrc", line: "source <(sealmesh completion bash)" },
    { what: "zsh, in ~/.zshrc after compinit", line: "source <(sealmesh completion zsh)" },
    { what: "fish, in ~/.config/fish/config.fish", line: "sealmesh completion fish | source" },
    { what: "PowerShell, in $PROFILE", line: "sealmesh completion powershell | Out-String | Invoke-Expression" },
  ],
  addFlags(command) {
    takesWord(command, "shell", "<shell>", "bash, zsh, fish or powershell").option("--json", "one JSON document");
    command.registeredArguments[0]?.choices(Object.keys(shells));
  },
  async run(given) {
    const { shell, json } = given as unknown as CompletionFlags;
    const scriptOf = shells[shell];
    if (!scriptOf) throw new MeshError("E_USAGE", `completion takes ${Object.keys(shells).join(", ")}`);
    // the list of commands names this one, so it cannot be imported above
    const { declareProgram } = await import("../program.ts");
    const program = await declareProgram(
      () => Promise.resolve(),
      () => true,
    );
    const script = scriptOf(commandTree(program));
    if (json) printJson({ shell, script });
    else process.stdout.write(script);
    return 0;
  },
};
