/** Version of the package, and what the mesh is told. */
import { readFileSync } from "node:fs";
import { packageFile } from "../base/package.ts";

const manifest: unknown = JSON.parse(readFileSync(packageFile("package.json"), "utf8"));

export const version: string =
  typeof manifest === "object" && manifest !== null && "version" in manifest ? String(manifest.version) : "0.0.0";

/** A version that mesh-llm accepts, with our own as build metadata (protocol.md §3.2, field 4). */
export const announcedVersion: string = `0.65.1+sealmesh.${version}`;
