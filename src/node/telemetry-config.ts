/** Where spans go, from settings to checked values. Reads no environment: config.ts does, and hands over what it found. */
import { MeshError } from "../base/errors.ts";
import { localNames } from "./http/local-only.ts";

export interface TelemetrySettings {
  /** Takes OTLP traces as JSON. */
  readonly url: string;
  /** Sent along, such as a token: secret. Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
}

export interface TelemetryRequest {
  /** Base URL of a collector, "none", or undefined: nobody said anything. */
  readonly endpoint: string | undefined;
  /** As OTEL_EXPORTER_OTLP_HEADERS has it: name=value, with commas between, values percent-encoded. */
  readonly headers: string | undefined;
  readonly serviceName: string | undefined;
}

/** @returns undefined: no spans are made · @throws E_CONFIG; no message repeats a header's value */
export function telemetrySettings({ endpoint, headers, serviceName }: TelemetryRequest): TelemetrySettings | undefined {
  if (endpoint === undefined || endpoint === "none") return undefined;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") {
    const takes =
      "takes the base URL of a collector that speaks OTLP over HTTP, such as http://127.0.0.1:4318, or none";
    throw new MeshError("E_CONFIG", `--otlp-endpoint ${takes}; what it is to be shown goes into its headers`);
  }
  const inTheClear = url.protocol === "http:" && !localNames.has(url.hostname);
  if (inTheClear && (headers ?? "").trim() !== "") {
    throw new MeshError(
      "E_CONFIG",
      "the collector's headers are a secret, and would travel in the clear: name it with https, or leave them out",
    );
  }
  url.pathname = `${url.pathname.replace(/\/+$/, "")}/v1/traces`;
  return { url: url.href, headers: headersFrom(headers ?? ""), serviceName: serviceName ?? "sealmesh" };
}

function headersFrom(text: string): Readonly<Record<string, string>> {
  const pairs = text
    .split(/[,\n]/)
    .map((pair) => pair.trim())
    .filter((pair) => pair !== "");
  return Object.fromEntries(
    pairs.map((pair, index) => {
      const [, name = "", encoded = ""] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(.*)$/.exec(pair) ?? [];
      const value = decoded(encoded);
      if (name !== "" && value !== undefined) return [name.toLowerCase(), value] as const;
      throw new MeshError(
        "E_CONFIG",
        `the collector's headers are name=value with commas between them, values percent-encoded: number ${index + 1} is not`,
      );
    }),
  );
}

/** Undefined: no percent-encoding, or nothing that a header may hold. */
function decoded(text: string): string | undefined {
  try {
    const value = decodeURIComponent(text);
    return /^[\t\x20-\x7e]*$/.test(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
