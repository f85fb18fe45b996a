/** Numeric socket addresses, "192.0.2.1:4433" or "[2001:db8::1]:4433". Names are not resolved here or below. */
import { isIPv4, isIPv6 } from "node:net";

export interface SocketAddress {
  /** Without brackets. */
  readonly host: string;
  /** 0 to 65535. */
  readonly port: number;
}

/** @returns undefined unless `text` is a numeric host and a port */
export function parseSocketAddress(text: string): SocketAddress | undefined {
  const [, bracketed, plain = "", digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const numeric = bracketed === undefined ? isIPv4(plain) : isIPv6(bracketed);
  return numeric && port <= 65_535 ? { host: bracketed ?? plain, port } : undefined;
}
