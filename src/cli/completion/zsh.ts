/** Completion for zsh: sourced, or as a file `_sealmesh` below $fpath. A table as for bash, with a sentence beside each word. */
import { everyCommand, shortened, type TreeCommand, type TreeFlag, wordsAt } from "../command-tree.ts";

export function zshScript(root: TreeCommand): string {
  const all = everyCommand(root);
  const known = all
    .filter(({ path }) => path !== "")
    .map(({ path }) => `"${parentOf(path)} ${path.split(" ").at(-1)}"`);
  const valued = all.flatMap(({ path, flags }) =>
    flags.filter(({ takes, alone }) => takes !== "nothing" && !alone).map((flag) => ({ path, flag })),
  );
  return `#compdef sealmesh
# zsh completion for sealmesh: source <(sealmesh completion zsh), or this file as _sealmesh below $fpath
_sealmesh() {
  local place="" word="" previous="\${words[CURRENT-1]}"
  local -a here flags
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$place $word" in
      ${known.join(" | \\\n      ")})
        place="\${place:+$place }$word" ;;
    esac
  done
  case "$place $previous" in
${valued.map(({ path, flag }) => `    "${path} ${flag.long}") ${valueAction(flag)}; return ;;\n`).join("")}  esac
  case "$place" in
${all.map(placeCase).join("")}  esac
  if [[ "\${words[CURRENT]}" == -* || \${#here} -eq 0 ]]; then _describe -o 'flag' flags; fi
  if (( \${#here} )); then _describe 'command' here; fi
}
if [ "\${funcstack[1]}" = "_sealmesh" ]; then _sealmesh "$@"; else compdef _sealmesh sealmesh; fi
`;
}

function placeCase(command: TreeCommand): string {
  const here = wordsAt(command).map(({ word, doc }) => quoted(word, doc));
  const flags = command.flags.map(({ long, doc }) => quoted(long, doc));
  const files = command.words.some(({ takes }) => takes === "file") ? "; _files" : "";
  return `    "${command.path}")\n      here=(${here.join(" ")})\n      flags=(${flags.join(" ")})${files} ;;\n`;
}

function valueAction({ takes, choices, doc }: TreeFlag): string {
  if (choices.length > 0) return `compadd ${choices.join(" ")}`;
  if (takes === "file") return "_files";
  return takes === "directory" ? "_files -/" : `_message '${shortened(doc).replaceAll("'", "'\\''")}'`;
}

/** 'word:sentence' for _describe. */
function quoted(word: string, doc: string): string {
  return `'${word}:${shortened(doc).replaceAll("'", "'\\''").replaceAll(":", "\\:")}'`;
}

function parentOf(path: string): string {
  return path.split(" ").slice(0, -1).join(" ");
}
