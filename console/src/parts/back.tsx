/** The way back to the mesh, above what was opened from there. */
import type { JSX } from "preact";
import { Icon } from "./icon.tsx";

export function Back(): JSX.Element {
  return (
    <a class="back" href="#/mesh">
      <Icon name="back" />
      Mesh
    </a>
  );
}
