/** Addresses as they may be shown: some have a name and password in them, or a key in what is asked. */

/** `vllm=http://a:b@host/` and `https://host/x?signature=...` without their secrets; any other text as it is. */
export function withoutSecrets(text: string): string {
  if (!text.includes("://")) return text;
  return text.replace(/(:\/\/)[^/@\s]*@/, "$1***@").replace(/\?[^#\s]*/, "?***");
}
