/**
 * Tables for a terminal: columns as wide as their longest cell, cut or left out where the terminal is narrow. Where nobody
 * looks (a pipe, a file) nothing is cut: lines can be searched and counted. Knows no command; every list is printed by it.
 */
import { stripVTControlCharacters } from "node:util";
import type { Paint, Style } from "./output.ts";

export interface Column {
  readonly head: string;
  /** How far its cells may be cut, in places of the terminal. @default they are not cut */
  readonly least?: number;
  /** Left out when cutting is not enough, the highest first. @default it stays */
  readonly drop?: number;
  /** For numbers: its cells end in one line, and it is at least so wide, so that it stands still while they change. */
  readonly right?: number;
}

/** A text, or one with a colour. */
export type Cell = string | { readonly text: string; readonly style: Style };

export interface TableOptions {
  /** Places in a line. @default all that is needed */
  readonly width?: number;
  readonly paint: Paint;
}

const gap = "  ";
const indent = "  ";
/** Text is not broken into columns narrower than this. */
const leastText = 30;

/** Places in a line of the terminal that a stream leads to; infinite where it leads elsewhere. */
export function widthOf({ isTTY, columns }: Pick<NodeJS.WriteStream, "isTTY" | "columns">): number {
  return isTTY && columns > 0 ? columns : Number.POSITIVE_INFINITY;
}

/** Rows with as many cells as there are columns, below a line with the heads. */
export function tableOf(columns: readonly Column[], rows: readonly (readonly Cell[])[], options: TableOptions): string {
  const { width = Number.POSITIVE_INFINITY, paint } = options;
  const shown = fit(columns, rows, width);
  const line = (cells: readonly Cell[]): string => {
    const last = shown.length - 1;
    const parts = shown.map(({ at, places, right }, index) => {
      const cell = cells[at] ?? "";
      const text = cutTo(textOf(cell), places);
      const blanks = " ".repeat(places - textWidth(text));
      const painted = typeof cell === "string" ? text : paint(cell.style, text);
      return right ? blanks + painted : index === last ? painted : painted + blanks;
    });
    return `${indent}${parts.join(gap)}`.trimEnd();
  };
  const heads = line(columns.map(({ head }) => head));
  return [`${indent}${paint("dim", heads.slice(indent.length))}`, ...rows.map(line)].join("\n");
}

interface Shown {
  /** Of the column, from 0. */
  readonly at: number;
  readonly places: number;
  readonly right: boolean;
}

function fit(columns: readonly Column[], rows: readonly (readonly Cell[])[], width: number): readonly Shown[] {
  let shown = columns.map((column, at) => {
    const texts = [column.head, ...rows.map((row) => textOf(row[at] ?? ""))];
    const wanted = Math.max(column.right ?? 0, ...texts.map(textWidth));
    const least = Math.min(wanted, Math.max(column.least ?? wanted, textWidth(column.head)));
    return { at, places: wanted, least, drop: column.drop ?? 0, right: column.right !== undefined };
  });
  const excess = (size: (column: (typeof shown)[number]) => number): number =>
    indent.length + shown.reduce((sum, column) => sum + size(column) + gap.length, -gap.length) - width;
  while (excess(({ least }) => least) > 0) {
    const [first] = shown.filter(({ drop }) => drop > 0).toSorted((a, b) => b.drop - a.drop);
    if (!first) break;
    shown = shown.filter((column) => column !== first);
  }
  // the widest gives way first, so that short names stay whole
  for (let over = excess(({ places }) => places); over > 0; over -= 1) {
    const [widest] = shown.filter(({ places, least }) => places > least).toSorted((a, b) => b.places - a.places);
    if (!widest) break;
    widest.places -= 1;
  }
  return shown;
}

function textOf(cell: Cell): string {
  return typeof cell === "string" ? cell : cell.text;
}

// ---- places that a text takes

const nothingWide = /\p{Mn}|\p{Me}|\u200d|\ufe0f/u;
const twoWide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;

/** Places that a text takes in a line, our own colours aside: names come in all scripts. */
export function textWidth(text: string): number {
  let width = 0;
  for (const character of stripVTControlCharacters(text))
    width += nothingWide.test(character) ? 0 : twoWide.test(character) ? 2 : 1;
  return width;
}

/** The text, or its beginning with a mark that there is more. */
export function cutTo(text: string, places: number): string {
  if (textWidth(text) <= places) return text;
  let cut = "";
  for (const character of text) {
    if (textWidth(cut + character) > places - 1) break;
    cut += character;
  }
  return `${cut.trimEnd()}…`;
}

/** A lead of so many places, and a text behind it whose further lines begin where it does. */
export function hanging(lead: string, places: number, text: string, width: number): readonly string[] {
  return wrapped(text, Math.max(width - places, leastText)).map((line, index) => {
    return `${index === 0 ? lead : " ".repeat(places)}${line}`;
  });
}

/**
 * The text in lines of at most so many places, broken between words and begun as far in as it is itself; a longer word has a
 * line of its own.
 */
export function wrapped(text: string, places: number): readonly string[] {
  if (textWidth(text) <= places) return [text];
  const [begin] = /^ */.exec(text) ?? [""];
  const lines: string[] = [];
  let line = "";
  for (const word of text.slice(begin.length).split(" ")) {
    const longer = line === "" ? `${begin}${word}` : `${line} ${word}`;
    if (line !== "" && textWidth(longer) > places) {
      lines.push(line);
      line = `${begin}${word}`;
    } else line = longer;
  }
  return [...lines, line];
}
