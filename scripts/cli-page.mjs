// docs/cli.md: every command with its flags and examples, as the parser has them.
import { code, fromProduct, prose, row } from "./product.mjs";

/** The page's text. */
export async function cliPage(root) {
  const { commands, commandTree, declareProgram } = await fromProduct(root, {
    "cli/command-list.ts": ["commands"],
    "cli/command-tree.ts": ["commandTree"],
    "cli/program.ts": ["declareProgram"],
  });
  const tree = commandTree(
    await declareProgram(
      () => Promise.resolve(),
      () => true,
    ),
  );
  const files = new Map();
  for (const { name, load } of commands) files.set(name, await load());
  const overview = tree.commands.map(({ path, summary }) => {
    return row([`[${code(`sealmesh ${path}`)}](#${`sealmesh ${path}`.replaceAll(" ", "-")})`, prose(summary)]);
  });
  const parts = tree.commands.flatMap((node) => {
    const declared = files.get(node.path);
    const below = (declared?.commands ?? []).map((one) => [
      node.commands.find(({ path }) => path === `${node.path} ${one.name}`),
      one,
    ]);
    return [section(node, declared, "##"), ...below.map(([child, one]) => section(child, one, "###"))];
  });
  return `# Commands

Made by \`npm run generate\` from the commands themselves; do not edit. \`sealmesh help COMMAND\` says the same in a terminal, and
\`sealmesh completion\` lets a shell complete all of it.

Data goes to stdout; logs, progress and hints to stderr. With \`--json\` a command prints one JSON document, and a failure is
\`{"error": {"code", "message", "hint"}}\` on stdout. \`NO_COLOR\` is honoured, and nothing is coloured that is no terminal.

Exit codes: 0 done · 64 wrong usage · 65 bad input · 69 nobody answers · 70 a bug · 75 try again · 76 a peer broke the protocol ·
77 refused · 78 configuration · 130 and 143 ended by a second signal. [errors.md](errors.md) has them code by code.

| command | what it does |
|---|---|
${overview.join("")}
${parts.join("\n")}`;
}

function section(node, declared, head) {
  const { path, description, usage, words, flags } = node;
  const wordRows = words.map(({ syntax, doc, choices }) => row([code(syntax), prose(doc) + chosen(choices)]));
  const groups = [...new Set(flags.map(({ group }) => group))].filter((group) =>
    flags.some((flag) => flag.group === group && flag.long !== "--help"),
  );
  const tables = groups.map((group) => {
    const rows = flags
      .filter((flag) => flag.group === group && flag.long !== "--help")
      .map(({ syntax, doc, choices }) => row([code(syntax), prose(doc) + chosen(choices)]));
    return `| ${group.replace(/:$/, "").toLowerCase()} | |\n|---|---|\n${rows.join("")}\n`;
  });
  const examples = (declared?.examples ?? []).map(({ what, line }) => `# ${what}\n${line}\n`).join("\n");
  return `${head} sealmesh ${path}

${prose(description)}

\`\`\`text
${usage}
\`\`\`

${wordRows.length > 0 ? `| word | |\n|---|---|\n${wordRows.join("")}\n` : ""}${tables.join("")}${examples ? `\`\`\`sh\n${examples}\`\`\`\n` : ""}`;
}

function chosen(choices) {
  return choices.length > 0 ? ` (${choices.map(code).join(", ")})` : "";
}
