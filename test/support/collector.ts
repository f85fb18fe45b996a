/** An OpenTelemetry collector for tests: takes OTLP traces as JSON on loopback, keeps them, and fails as it is told to. */
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";

/** A span as it was read from the wire; values of attributes as their OTLP kinds say. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly flags: number;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status?: { readonly code: number };
  readonly attributes: Readonly<Record<string, string | number>>;
}

export interface Collector extends AsyncDisposable {
  /** Base URL. */
  readonly url: string;
  /** Bodies as they came, and the heads of their requests. */
  readonly bodies: readonly string[];
  readonly heads: readonly IncomingHttpHeaders[];
  readonly paths: readonly string[];
  readonly spans: readonly Span[];
  readonly resource: Readonly<Record<string, string | number>>;
  /** Answered from now on. @default 200 */
  status: number;
  /** Whether it answers at all. @default true */
  answers: boolean;
}

interface Wire {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: Attributes };
    readonly scopeSpans: readonly {
      readonly spans: readonly (Omit<Span, "attributes"> & { attributes: Attributes })[];
    }[];
  }[];
}
type Attributes = readonly { readonly key: string; readonly value: Readonly<Record<string, string>> }[];

export async function startCollector(): Promise<Collector> {
  const bodies: string[] = [];
  const heads: IncomingHttpHeaders[] = [];
  const paths: string[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (piece: string) => (body += piece));
    request.on("end", () => {
      bodies.push(body);
      heads.push(request.headers);
      paths.push(request.url ?? "");
      if (collector.answers) response.writeHead(collector.status, { "content-type": "application/json" }).end("{}");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const sent = (): Wire["resourceSpans"] => bodies.flatMap((body) => (JSON.parse(body) as Wire).resourceSpans);
  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bodies,
    heads,
    paths,
    get spans() {
      return sent().flatMap(({ scopeSpans }) =>
        scopeSpans.flatMap(({ spans }) => spans.map((span) => ({ ...span, attributes: plain(span.attributes) }))),
      );
    },
    get resource() {
      return plain(sent()[0]?.resource.attributes ?? []);
    },
    status: 200,
    answers: true,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return collector;
}

/** @throws Error a value of another form than OTLP has in JSON */
function plain(attributes: Attributes): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => {
      const [kind, text] = Object.entries(value)[0] ?? [];
      if (typeof text !== "string") throw new Error(`${key} is no text: ${JSON.stringify(value)}`);
      if (kind === "stringValue") return [key, text];
      if (kind === "intValue" && /^\d+$/.test(text)) return [key, Number(text)];
      throw new Error(`${key} has a value of kind ${kind}`);
    }),
  );
}
