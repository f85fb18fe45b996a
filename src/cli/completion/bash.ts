/**
 * Completion for bash, also for the bash 3.2 of macOS. The script is a table: where in the command line one is, what can stand there.
 * It runs nothing of ours.
 */
import { everyCommand, type TreeCommand, wordsAt } from "../command-tree.ts";

export function bashScript(root: TreeCommand): string {
  const all = everyCommand(root);
  const known = all
    .filter(({ path }) => path !== "")
    .map(({ path }) => `"${parentOf(path)} ${path.split(" ").at(-1)}"`);
  const flags = all.flatMap(({ path, flags: some }) => some.map((flag) => ({ path, flag })));
  const at = (takes: string): string =>
    patterns(flags.filter(({ flag }) => flag.takes === takes && flag.choices.length === 0 && !flag.alone));
  const chosen = flags.filter(({ flag }) => flag.choices.length > 0 && !flag.alone);
  return `# bash completion for sealmesh: source <(sealmesh completion bash)
_sealmesh() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" place="" word="" index
  # bash has made three words of --flag=value
  if [ "$current" = "=" ]; then current=""; elif [ "$previous" = "=" ]; then previous="\${COMP_WORDS[COMP_CWORD-2]}"; fi
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    case "$place $word" in
      ${known.join(" | \\\n      ")})
        place="\${place:+$place }$word" ;;
    esac
  done
  COMPREPLY=()
  case "$place $previous" in
    ${at("file")})
      _sealmesh_files -f "$current"; return ;;
    ${at("directory")})
      _sealmesh_files -d "$current"; return ;;
${chosen.map(({ path, flag }) => `    "${path} ${flag.long}")\n      word="${flag.choices.join(" ")}" ;;\n`).join("")}    ${at("text")})
      return ;;
    *)
      case "$place" in
${all.map((command) => `        "${command.path}") word="${candidates(command)}" ;;\n`).join("")}      esac ;;
  esac
  local IFS=$' \\t\\n'
  COMPREPLY=($(compgen -W "$word" -- "$current"))
  case "$place" in
    ${all
      .filter(({ words }) => words.some(({ takes }) => takes === "file"))
      .map(({ path }) => `"${path}"`)
      .join(" | ")}) [ \${#COMPREPLY[@]} -gt 0 ] || _sealmesh_files -f "$current" ;;
  esac
}
_sealmesh_files() {
  compopt -o filenames 2>/dev/null
  local IFS=$'\\n'
  COMPREPLY=($(compgen "$1" -- "$2"))
}
complete -F _sealmesh sealmesh
`;
}

function patterns(flags: readonly { readonly path: string; readonly flag: { readonly long: string } }[]): string {
  return flags.map(({ path, flag }) => `"${path} ${flag.long}"`).join(" | \\\n    ") || '"  "';
}

function candidates(command: TreeCommand): string {
  return [...wordsAt(command).map(({ word }) => word), ...command.flags.map(({ long }) => long)].join(" ");
}

function parentOf(path: string): string {
  return path.split(" ").slice(0, -1).join(" ");
}
