/** Completion for PowerShell, in the profile. Written after its documentation; not yet run. */
import { everyCommand, shortened, type TreeCommand, wordsAt } from "../command-tree.ts";

export function powershellScript(root: TreeCommand): string {
  const places = everyCommand(root).map((command) => {
    const words = [...wordsAt(command), ...command.flags.map(({ long, doc }) => ({ word: long, doc }))];
    const entries = words.map(({ word, doc }) => `    ${quoted(word)} = ${quoted(shortened(doc) || word)}`);
    return `  ${quoted(command.path)} = [ordered]@{\n${entries.join("\n")}\n  }`;
  });
  return `# PowerShell completion for sealmesh: sealmesh completion powershell | Out-String | Invoke-Expression
$sealmeshPlaces = @{
${places.join("\n")}
}
Register-ArgumentCompleter -Native -CommandName sealmesh -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $place = ''
  foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {
    if ($element.Extent.EndOffset -ge $cursorPosition) { break }
    $next = "$place $($element.Extent.Text)".Trim()
    if ($sealmeshPlaces.ContainsKey($next)) { $place = $next }
  }
  $sealmeshPlaces[$place].GetEnumerator() | Where-Object { $_.Key -like "$wordToComplete*" } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_.Key, $_.Key, 'ParameterValue', $_.Value)
  }
}
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
