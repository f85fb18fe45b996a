/** Completion for fish: sourced, or as ~/.config/fish/completions/sealmesh.fish. One line for each word and flag. */
import { everyCommand, shortened, type TreeCommand, type TreeFlag, wordsAt } from "../command-tree.ts";

export function fishScript(root: TreeCommand): string {
  const all = everyCommand(root);
  const known = all
    .filter(({ path }) => path !== "")
    .map(({ path }) => `'${path.split(" ").slice(0, -1).join(" ")} ${path.split(" ").at(-1)}'`);
  return `# fish completion for sealmesh: sealmesh completion fish | source
function __sealmesh_at
  set -l place ''
  for word in (commandline -opc)[2..-1]
    switch "$place $word"
      case ${known.join(" ")}
        set place (string trim -- "$place $word")
    end
  end
  test "$place" = "$argv[1]"
end
complete -c sealmesh -f
${all.flatMap(linesOf).join("\n")}
`;
}

function linesOf(command: TreeCommand): readonly string[] {
  const start = `complete -c sealmesh -n '__sealmesh_at "${command.path}"'`;
  return [
    ...wordsAt(command).map(({ word, doc }) => `${start} -a ${word} -d ${quoted(doc)}`),
    ...command.flags.map((flag) => `${start} -l ${flag.long.slice(2)}${valueOf(flag)} -d ${quoted(flag.doc)}`),
    ...(command.words.some(({ takes }) => takes === "file") ? [`${start} -F`] : []),
  ];
}

function valueOf({ takes, choices, alone }: TreeFlag): string {
  if (takes === "nothing" || alone) return "";
  if (choices.length > 0) return ` -x -a '${choices.join(" ")}'`;
  if (takes === "directory") return " -x -a '(__fish_complete_directories)'";
  return takes === "file" ? " -r -F" : " -x";
}

function quoted(doc: string): string {
  return `'${shortened(doc).replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
