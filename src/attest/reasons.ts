/**
 * Why a factor has its outcome: a closed list, one sentence each. Nothing that a peer wrote can stand in a reason, so it
 * may go into logs, headers and pages as it is. Used by every kind; shown by policy/explain, the CLI and docs alike.
 */
export const reasons = {
  // nothing to say
  "not-shown": "This kind of evidence does not show it.",
  "not-reached": "An earlier check failed, so nothing it covers counts.",
  "unknown-kind": "This build knows no such kind of evidence, or not this version of it.",

  // parse
  "well-formed": "It is complete and well-formed.",
  malformed: "It is not in the form that this kind demands.",
  "too-large": "It is larger than any evidence of this kind.",

  // signature
  "signature-holds": "The attested key signed it.",
  "signature-wrong": "The signature does not hold.",
  "key-unusable": "The attested key is no key that this kind allows.",

  // chain
  "chain-holds": "A certificate chain leads from the attested hardware to a root that you trust.",
  "no-chain": "No certificate came with it.",
  "no-roots": "No root certificates were given to check its chain against.",
  "unknown-root": "Its certificate chain ends at a root that you do not trust.",
  "chain-wrong": "Its certificate chain does not hold.",
  "chain-unsupported": "Its certificate chain has a kind of key or signature that this build cannot check.",
  "chain-expired": "A certificate of its chain has expired.",
  "chain-not-yet-valid": "A certificate of its chain is not valid yet; compare the clocks.",

  // revocation
  "no-revocation-list": "No revocation list was given.",

  // binding
  bound: "It names this node and the inference key in use.",
  "not-compared": "It was not said for which node and inference key it must be.",
  "other-node": "It was made for another node.",
  "other-inference-key": "It was made for another inference key.",
  "binding-differs": "It was made for another node, another key or another question.",

  // fresh
  "nonce-answered": "It holds the nonce that was asked with, so it was made after the question.",
  "challenge-answered": "Its own time is recent, and its key has answered a challenge.",
  "own-time": "Its own time is recent; only an answered question shows that this is no copy.",
  "too-old": "Its own time is older than allowed.",
  "clock-ahead": "Its own time lies further ahead than allowed; compare the clocks.",
  "time-unreadable": "Its own time cannot be read.",
  "older-than-seen": "The same key has shown newer evidence before.",
  "counter-went-back": "Its clock or restart counter is behind what it showed before.",

  // key-residence
  "key-in-chip": "The chip of the certificate has shown that the attested key is inside it.",
  "residence-own-word": "Only the signer says where its key is kept; a program could hold it.",
  "not-activated": "Nothing has shown yet that the attested key is inside the chip of the certificate.",
  "software-key": "The key is a file of a program.",
  "key-not-restricted": "The attested key would sign a hand-made statement as well.",
  "other-chip": "The certificate is for another chip.",

  // device-state
  "flags-own-word":
    "The signer says that system integrity protection and secure boot are on and remote memory access is off.",
  "sip-off": "The signer says that system integrity protection is off.",
  "secure-boot-off": "The signer says that secure boot is off.",
  "rdma-on": "The signer says that remote memory access is on.",

  // measurement
  "measurement-listed-own-word": "The signer names a build that you accept; nothing but its word says that it runs.",
  "no-list": "No list of accepted builds was given.",
  "not-listed": "It names a build that is not on your list.",
  "measurement-missing": "It names no build.",
  "measurement-differs": "The measured values do not lead to the value that was signed.",
} as const;

export type ReasonCode = keyof typeof reasons;
