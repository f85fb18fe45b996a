/**
 * The console's files, as they were built: read at the first request, and only those that were there then. They hold no
 * secret and know no session: the link with its token is a fragment, which no browser sends.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { extname, join, relative, sep } from "node:path";
import type { Context, Hono } from "hono";
import { toHex } from "../../base/bytes.ts";
import { isBuilt, packageFile } from "../../base/package.ts";

/** Of a build; not there when the source runs as it is. */
export const consoleDirectory: string = packageFile(isBuilt ? "dist/console" : "src/console");

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".webmanifest": "application/manifest+json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".woff2": "font/woff2",
};

interface ConsoleFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
}

/** Said where there is no page. */
const noPage = "sealmesh is running. See /api/status, or run: sealmesh status\n";

/** @param directory with index.html, and assets/ whose names change with their content */
export function addConsoleRoutes(app: Hono, directory: string): void {
  let files: ReadonlyMap<string, ConsoleFile> | undefined;
  const answer = (context: Context, name: string): Response | Promise<Response> => {
    files ??= readFiles(directory);
    const file = files.get(name);
    if (!file) return name === "index.html" ? context.text(noPage) : context.notFound();
    const { bytes, headers } = file;
    if (context.req.header("if-none-match") === headers["etag"]) return context.body(null, 304, headers);
    return context.body(bytes, 200, headers);
  };
  app.get("/", (context) => answer(context, "index.html"));
  app.get("/assets/*", (context) => answer(context, context.req.path.slice(1)));
  // an icon and the like; one segment, which no route below names
  app.get("/:file{[a-z0-9-]+\\.(?:svg|png|ico|webmanifest)}", (context) => answer(context, context.req.path.slice(1)));
}

/** By name with slashes; what has no type that we know is left out. An empty map: nothing was built. */
function readFiles(directory: string): ReadonlyMap<string, ConsoleFile> {
  const files = new Map<string, ConsoleFile>();
  let entries;
  try {
    entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  } catch {
    return files;
  }
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const type = types[extname(entry.name)];
    if (!entry.isFile() || type === undefined) continue;
    const name = relative(directory, path).split(sep).join("/");
    files.set(name, fileOf(name, type, new Uint8Array(readFileSync(path))));
  }
  return files;
}

function fileOf(name: string, type: string, bytes: Uint8Array<ArrayBuffer>): ConsoleFile {
  const digest = toHex(new Uint8Array(createHash("sha256").update(bytes).digest()).subarray(0, 16));
  // the name of an asset has its digest in it; of all others an older copy may be in a browser
  const caching = name.startsWith("assets/") ? "public, max-age=31536000, immutable" : "no-cache";
  return { bytes, headers: { "content-type": type, "cache-control": caching, etag: `"${digest}"` } };
}
