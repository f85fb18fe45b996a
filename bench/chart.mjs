// The chart of docs/performance.md: plain bars as an SVG without scripts or fonts of its own, on a card whose colours follow the reader's.
// Pure.
import { shown } from "./figures.mjs";

const card = { width: 880, pad: 24, gap: 32, head: 34, row: 22 };
const column = { label: 150, value: 74 };
const panelWidth = (card.width - 2 * card.pad - card.gap) / 2;

const style = `
  svg { color-scheme: light dark; }
  .card { fill: #ffffff; stroke: #d0d7de; }
  text { font: 12px system-ui, sans-serif; fill: #57606a; }
  .title { font-size: 13px; font-weight: 600; fill: #1f2328; }
  .value { fill: #1f2328; text-anchor: start; }
  .label { text-anchor: end; }
  .other { fill: #afb8c1; }
  .ours { fill: #2f6f4f; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #30363d; }
    text { fill: #9198a1; }
    .title, .value { fill: #f0f6fc; }
    .other { fill: #57606a; }
    .ours { fill: #56b384; }
  }
`;

/**
 * @param panels {title, bars: [{label, value, isOurs}]}; a bar without a value is left out
 * @returns      an SVG document: panels in two columns, each with a scale of its own that begins at 0
 */
export function barChart(panels, title) {
  const rows = Math.max(...panels.map(({ bars }) => bars.length));
  const panelHeight = card.head + rows * card.row;
  const lines = Math.ceil(panels.length / 2);
  const height = 2 * card.pad + lines * panelHeight + (lines - 1) * card.gap;
  const drawn = panels.map((panel, index) => {
    const x = card.pad + (index % 2) * (panelWidth + card.gap);
    const y = card.pad + Math.floor(index / 2) * (panelHeight + card.gap);
    return `<g transform="translate(${x} ${y})">${panelOf(panel)}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${card.width} ${height}" width="${card.width}" height="${height}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<style>${style}</style>`,
    `<rect class="card" x="0.5" y="0.5" width="${card.width - 1}" height="${height - 1}" rx="8"/>`,
    ...drawn,
    "</svg>",
    "",
  ].join("\n");
}

function panelOf({ title, bars }) {
  const known = bars.filter(({ value }) => Number.isFinite(value));
  const most = Math.max(...known.map(({ value }) => value), Number.MIN_VALUE);
  const room = panelWidth - column.label - column.value;
  const drawn = known.map(({ label, value, isOurs }, index) => {
    const y = card.head + index * card.row;
    const width = Math.max(1, (Math.max(0, value) / most) * room).toFixed(1);
    return [
      `<text class="label" x="${column.label - 8}" y="${y + 11}">${escaped(label)}</text>`,
      `<rect class="${isOurs ? "ours" : "other"}" x="${column.label}" y="${y}" width="${width}" height="14" rx="2"/>`,
      `<text class="value" x="${(column.label + Number(width) + 6).toFixed(1)}" y="${y + 11}">${escaped(shown(value))}</text>`,
    ].join("");
  });
  return `<text class="title" x="0" y="14">${escaped(title)}</text>\n${drawn.join("\n")}`;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
