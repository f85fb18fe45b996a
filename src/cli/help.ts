/** The help of `sealmesh` itself: the first steps on top, then all commands by what they are for, on one screen. */
import type { ListedCommand } from "./command-list.ts";

/** Which commands stand together; what is named nowhere stands with the last. */
const groups: readonly { readonly title: string; readonly names: readonly string[] }[] = [
  { title: "run", names: ["serve", "client", "relay", "stop"] },
  { title: "use", names: ["chat", "models", "console"] },
  { title: "look", names: ["status", "peers", "explain", "logs"] },
  { title: "members", names: ["invite", "discover"] },
  { title: "trust", names: ["verify", "trust", "owner", "builds", "measure"] },
  { title: "set up", names: ["demo", "doctor", "engine", "pull", "config", "service", "completion", "version"] },
];

const firstSteps: readonly (readonly [line: string, what: string])[] = [
  ["sealmesh demo", "see it work, on this machine alone"],
  ["sealmesh serve --engine auto", "offer this machine's models, or --model FILE"],
  ["sealmesh client --join-file FILE", "use them elsewhere: 127.0.0.1:9337/v1"],
];

type Named = Pick<ListedCommand, "name" | "summary">;

/** @param commands those that there are */
export function rootHelp(commands: readonly Named[]): string {
  const lineWidth = Math.max(...firstSteps.map(([line]) => line.length)) + 3;
  return [
    "One OpenAI-compatible endpoint over many machines.",
    "Each prompt is sealed to the machine that answers it.",
    "",
    "First steps:",
    ...firstSteps.map(([line, what]) => `  ${line.padEnd(lineWidth)}${what}`),
    "",
    "Commands (sealmesh help serve has all about one):",
    ...grouped(commands).flatMap(({ title, members }) =>
      members.map((one, index) => row(index === 0 ? title : "", one)),
    ),
    "",
    "Exit codes: 0 done, 64 wrong usage, 65 bad input, 69 nobody answers, 70 a bug,",
    "75 try again, 76 a peer broke the protocol, 77 refused, 78 configuration,",
    "130 and 143 a second signal.",
    "",
  ].join("\n");
}

function row(title: string, { name, summary }: Named): string {
  return `  ${title.padEnd(8)}  ${name.padEnd(10)}  ${summary}`;
}

function grouped(
  commands: readonly Named[],
): readonly { readonly title: string; readonly members: readonly Named[] }[] {
  const known = new Set(groups.flatMap(({ names }) => names));
  const rest = commands.filter(({ name }) => !known.has(name));
  return groups.map(({ title, names }, index) => {
    const members = names.flatMap((name) => commands.filter((command) => command.name === name));
    return { title, members: index === groups.length - 1 ? [...members, ...rest] : members };
  });
}
