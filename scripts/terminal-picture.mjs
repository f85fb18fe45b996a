// Draws what a terminal shows as an SVG: text with the colours of `tmux capture-pane -e`, in a window frame. For the README;
// knows the styles that sealmesh prints (bold, dim, eight colours), and drops every other escape.

const cell = { width: 8.4, height: 18 };
const frame = { left: 20, top: 48, right: 20, bottom: 20 };
const colours = {
  text: "#d7dce5",
  dim: "#8a93a5",
  30: "#3b4252",
  31: "#f07178",
  32: "#9bd67f",
  33: "#f2c46d",
  34: "#82aaff",
  35: "#c792ea",
  36: "#72d5e8",
  37: "#d7dce5",
};

/**
 * @param screen  lines of a terminal, with SGR escapes
 * @param options columns of the terminal; title in the window's frame
 * @returns       an SVG document
 */
export function terminalPicture(screen, { columns, title }) {
  const lines = screen.trimEnd().split("\n");
  const width = Math.ceil(frame.left + columns * cell.width + frame.right);
  const height = frame.top + lines.length * cell.height + frame.bottom;
  let style = plain;
  const rows = lines.map((line, index) => {
    const { spans, end } = spansOf(line, style);
    style = end;
    const y = frame.top + (index + 0.75) * cell.height;
    return spans
      .filter(({ text }) => text.trim() !== "")
      .map(({ text, column, style: own }) => {
        const x = frame.left + column * cell.width;
        const weight = own.bold ? ' font-weight="600"' : "";
        // fixed columns, whatever font the reader has
        const length = (text.length * cell.width).toFixed(1);
        return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" fill="${own.dim ? colours.dim : own.colour}"${weight} textLength="${length}" xml:space="preserve">${escaped(text)}</text>`;
      })
      .join("");
  });
  const dots = ["#f07178", "#f2c46d", "#9bd67f"].map(
    (fill, index) => `<circle cx="${22 + index * 18}" cy="20" r="5.5" fill="${fill}"/>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">`,
    `<rect width="${width}" height="${height}" rx="10" fill="#171a21"/>`,
    ...dots,
    `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">`,
    `<text x="${width / 2}" y="25" fill="${colours.dim}" text-anchor="middle">${escaped(title)}</text>`,
    ...rows.filter((row) => row !== ""),
    "</g>",
    "</svg>",
    "",
  ].join("\n");
}

const plain = { colour: colours.text, bold: false, dim: false };

/** Pieces of one line that look alike, each with the column it starts at. */
function spansOf(line, start) {
  const spans = [];
  let style = start;
  let column = 0;
  // oxlint-disable-next-line no-control-regex -- escapes are what it is about
  for (const piece of line.split(/(\u001b\[[0-9;?]*[A-Za-z])/)) {
    if (piece.startsWith("\u001b[")) style = piece.endsWith("m") ? styled(style, piece.slice(2, -1)) : style;
    else if (piece !== "") {
      spans.push({ text: piece, column, style });
      column += piece.length;
    }
  }
  return { spans, end: style };
}

/** @param codes of one SGR escape, such as "1;36" */
function styled(style, codes) {
  let next = style;
  for (const code of codes.split(";").map(Number)) {
    if (code === 0) next = plain;
    else if (code === 1) next = { ...next, bold: true };
    else if (code === 2) next = { ...next, dim: true };
    else if (code === 22) next = { ...next, bold: false, dim: false };
    else if (code === 39) next = { ...next, colour: colours.text };
    else if (code >= 90 && code <= 97) next = { ...next, colour: colours[code - 60] };
    else if (colours[code] !== undefined) next = { ...next, colour: colours[code] };
  }
  return next;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
