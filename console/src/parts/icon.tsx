/** The console's pictures: lines on a 20 by 20 grid, in the colour of the text beside them. Always next to a word. */
import type { JSX } from "preact";

const paths = {
  mesh: "M10 3.5v3M10 13.5v3M4.4 6.8l2.6 1.5M13 11.7l2.6 1.5M4.4 13.2 7 11.7M13 8.3l2.6-1.5M10 12.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6Z",
  chat: "M3.5 5.5a2 2 0 0 1 2-2h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H9l-3.5 3v-3a2 2 0 0 1-2-2Z",
  exchanges: "M3.5 7h11l-3-3M16.5 13h-11l3 3",
  policy: "M10 2.8 16 5v4.6c0 3.6-2.4 6.2-6 7.6-3.6-1.4-6-4-6-7.6V5ZM7.4 9.9l1.9 1.9 3.4-3.7",
  invite: "M8 10.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM2.8 16.5c.5-2.4 2.5-4 5.2-4 1.2 0 2.2.3 3 .8M14.5 11.5v5M12 14h5",
  sealed: "M6 9V6.8a4 4 0 0 1 8 0V9M5.5 9h9a1 1 0 0 1 1 1v5.5a1 1 0 0 1-1 1h-9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1Z",
  plain: "M6 9V6.8a4 4 0 0 1 7.6-1.7M5.5 9h9a1 1 0 0 1 1 1v5.5a1 1 0 0 1-1 1h-9a1 1 0 0 1-1-1V10a1 1 0 0 1 1-1Z",
  refused: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM5.2 5.2l9.6 9.6",
  pass: "M4.5 10.5 8.3 14l7.2-8",
  fail: "M5.5 5.5l9 9M14.5 5.5l-9 9",
  unknown: "M5 10h10",
  stale: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM10 6.2V10l2.6 1.8",
  copy: "M7.5 7.5v-3a1 1 0 0 1 1-1h7a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-3M4.5 7.5h7a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-7a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1Z",
  send: "M10 16V4.5M5 9.2l5-5 5 5",
  stop: "M6.5 6.5h7v7h-7Z",
  sun: "M10 13.2a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4ZM10 2.6v1.6M10 15.8v1.6M2.6 10h1.6M15.8 10h1.6M4.8 4.8l1.1 1.1M14.1 14.1l1.1 1.1M4.8 15.2l1.1-1.1M14.1 5.9l1.1-1.1",
  moon: "M16 11.8A6.6 6.6 0 0 1 8.2 4a6.6 6.6 0 1 0 7.8 7.8Z",
  auto: "M10 16.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM10 3.5v13M10 6.5h5.4M10 10h6.4M10 13.5h5.4",
  more: "M7.5 5.5 12 10l-4.5 4.5",
  back: "M12.5 5.5 8 10l4.5 4.5",
  key: "M12.5 10.5a3.5 3.5 0 1 0-3.4-2.7L3.5 13.4v2.6h2.8v-2h2v-2l1.5-1.5c.8.3 1.7.4 2.7 0ZM13 6.9v.2",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { readonly name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}

/** The mark: a seal with three ways out of it. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <circle class="mark-ground" cx="16" cy="16" r="13.5" />
      <path class="mark-line" d="M16 7.6v4M23.3 20.2l-3.5-2M8.7 20.2l3.5-2" />
      <circle class="mark-line" cx="16" cy="16" r="3.8" />
    </svg>
  );
}
