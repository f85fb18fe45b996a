/** Whether a host is this machine, by the name that it is given. Nothing is looked up: any other name may stand for any address. */
import { isIPv4 } from "node:net";

/** @param host a name or a numeric address, with or without the brackets of IPv6 */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || (isIPv4(host) && host.startsWith("127."));
}
