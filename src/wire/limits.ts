/**
 * Every bound of the wire, with its unit in the name and its reason beside it. What we write stays far inside; these
 * are what we accept from others, and each is checked before memory is taken. Defaults of the node (timers, ports) are
 * not here but in node/defaults.ts.
 */
export const limits = {
  // control frames
  /** The reference's own bound for a control message (protocol.md §1.2). */
  controlFrameBytes: 8_388_608,
  /** Entries of one gossip frame: far above any mesh seen, and the table they go into stays below 100 MB. */
  announcementsPerFrame: 4_096,
  /** Items of 16 bytes in a digest of known records: twice the peers that a node holds. */
  digestItems: 8_192,
  /** Entries of others that we put into one frame for a node that signs records: 100 KB; the rest goes with the next ones. */
  entriesTold: 64,
  /** Offer of a direct path: a signature, and eight addresses make 220. */
  directOfferBytes: 512,
  /** Protobuf fields of one control message, nested ones included: decoded objects cost 100 times their wire bytes. */
  fieldsPerFrame: 131_072,
  /** Rows of a route table: announcementsPerFrame hosts with a few models each. */
  routesPerTable: 16_384,
  /** Names of models in one announcement; further ones are dropped. Catalogues are not announced. */
  modelsPerPeer: 256,
  /** Items of field 37 that are kept: one posture, or the subprotocols of a later mesh-llm. */
  postureItems: 16,
  /** A posture, also as an item of field 37: the reference's has 75 bytes, ours about 600, all names at their bounds 1.6 KiB. */
  postureBytes: 2_048,
  /** UTF-8 bytes of a name: model, host, mesh, version. Hugging Face references stay below 150. */
  nameBytes: 256,
  /** Text of field 36: 44 characters when well-formed; a later form may be longer, and is then no key but still shown. */
  keyTextBytes: 256,
  /** JSON of field 38: about 1 KiB in the reference; a certificate chain or a quote fits too. */
  evidenceBytes: 65_536,
  /** Pieces of collateral in one item of evidence: a chain for each of a few certificates, and revocation lists. */
  collateralPieces: 16,
  /** Evidence and collateral of one item together: a quote, its chains and an event log of tens of KiB. */
  evidenceItemBytes: 131_072,
  /** An item of evidence as JSON: evidenceItemBytes in base64, and what stands around it. */
  evidenceFileBytes: 262_144,
  /** SignedNodeOwnership (field 28): keys, ids and two names make some 300 bytes; a longer one is not kept. */
  ownershipBytes: 2_048,
  /** SignedRecord as a whole (wire.md §2). */
  recordBytes: 16_384,
  /** Short names in a record's capability list. */
  capabilitiesPerRecord: 64,
  /** Members that are kept on disk for the next start: as many as are looked for. */
  knownMembers: 256,
  /** Models in a record: 128 of ordinary names stay below recordBytes. */
  modelsPerRecord: 128,
  /** Credential in a record: eight links of some 250 bytes, twice. */
  credentialBytes: 4_096,
  /** Members that invited one another, the creator's own link included. */
  credentialLinks: 8,
  /** Grants that one node may have taken back at a time; they count for as long as what they granted would. */
  revokedGrantsPerRecord: 64,
  /** SignedGrant: three keys, an id, a signature and a few numbers make some 210 bytes. */
  grantBytes: 512,
  /** Frames of the admission stream: a credential at its bound, or a grant at its, and what stands beside it. */
  admissionFrameBytes: 4_352,
  /** SignedRecords in one reply: one now, a few when replies for several nodes come. */
  recordsPerReply: 64,
  /** SignedBuildList as a whole: buildsPerList of ordinary ones need 25 KiB, and a bundle stands beside them. */
  buildListBytes: 65_536,
  /** Builds of one list: a few releases on each platform, and all that were taken back. */
  buildsPerList: 256,
  /** JSON of a Sigstore bundle: certificate, log entry and proof make some 10 KiB. */
  sigstoreBundleBytes: 32_768,
  /** SignedBuildLists in one gossip frame, and signers that a node trusts: each frame has the newest of each. */
  buildListsPerFrame: 4,
  /** Frame of a RecordReply: recordsPerReply of recordBytes, and their prefixes. */
  recordReplyBytes: 1_049_600,
  /** Frames of the relay stream before the envelope: 40 bytes are used. */
  relayFrameBytes: 1_024,
  /** Of an envelope that came right behind a question that is refused: so much is dropped, more ends the stream at once. */
  relayAheadBytes: 65_536,
  /** Relays on one way: what a mesh of a few sites needs, and each one more sees who asks whom, and can cut. */
  relayHops: 2,

  // challenges and evidence
  /** Sealed bytes of a challenge (222 are used) or of its answer: proofsPerAnswer at their bounds, and nonce and tag. */
  challengeSealedBytes: 4_096,
  /** Signatures in one answer, and items in one reply: as many as there may be collectors on one machine. */
  proofsPerAnswer: 8,
  evidencePerReply: 8,
  /** DER signature of a P-256 key: 72 bytes at most when it is well-formed. */
  proofSignatureBytes: 128,
  /** Question where a key is kept, and its answer: a TPM's credential has about 340 bytes. */
  residenceBytes: 1_024,
  /** Request frames of both streams and the reply to a challenge: challengeSealedBytes and what stands beside it. */
  attestFrameBytes: 5_120,
  /** Reply frame with evidence: one item at its bound, and as much again for the usual ones of 5 to 30 KiB beside it. */
  evidenceReplyBytes: 262_144,

  // addresses and invites
  /** UTF-8 bytes of an EndpointAddress as JSON: addressesPerEndpoint of them fit. */
  addressBytes: 8_192,
  /** Addresses kept of one endpoint; further ones are dropped. Each may become a dial. */
  addressesPerEndpoint: 32,
  /** One iroh relay URL. */
  relayUrlBytes: 256,
  /** Invite token text: 6 KiB of JSON, an address and our own member. */
  tokenBytes: 8_192,

  // listings of meshes
  /** Content of one listing: a token at its bound, and listingModels of ordinary names three times. */
  listingBytes: 32_768,
  /** Names in each list of a listing; further ones are dropped. */
  listingModels: 64,
  /** Nodes, clients and memory of a mesh (one exabyte): what is said beyond it is taken as this. */
  listingNodes: 1_000_000,
  listingVramBytes: 1_152_921_504_606_846_976,
  /** Longest that a listing holds from now on: whoever publishes does so each minute (protocol.md §9.4). */
  listingLifeMs: 3_600_000,
  /** Listings that are looked at when one is to be joined, after all others have lost against them. */
  listingsPicked: 16,
  /** One message of a Nostr relay that is read: an event with a listing whose every character is escaped, and its tags. */
  nostrMessageBytes: 131_072,
  /** One that is skipped: relays take events of other kinds of that size. A larger one ends the conversation. */
  nostrSkippedBytes: 1_048_576,
  /** One conversation with a relay: pages of ordinary listings have a few kilobytes for each event. */
  nostrTalkBytes: 33_554_432,
  /** Events in one answer, as they are asked for (protocol.md §9.4), and answers that are asked for in a row. */
  nostrEventsPerPage: 100,
  nostrPages: 24,
  /** Signatures that are checked for one relay in one look: half a second of one core. */
  nostrSignatures: 256,
  /** Tags of an event that are read, and characters of each. */
  nostrTags: 32,
  nostrTagBytes: 1_024,
  /** TXT record of a listing on the local network, all parts together, as it is read; and one part (RFC 6763 §6.1). */
  mdnsTextBytes: 4_096,
  mdnsPartBytes: 255,
  /** Meshes of a local network that are remembered. */
  mdnsListings: 256,

  // envelopes
  /** Bytes after 0xE1 of a request: the reference's bound (protocol.md §7.3), about 72 MiB of plaintext. */
  envelopeBytes: 100_663_296,
  /** Members of the request JSON other than the ciphertext, all together: ignored ones must not cost much. */
  envelopeExtraBytes: 65_536,
  /** Nesting inside an ignored member. */
  envelopeDepth: 64,
  /** Length field of a response chunk: the reference's bound (protocol.md §7.4). */
  chunkBytes: 16_777_216,
  /** Nonce and tag of a box: the shortest chunk, an empty one. */
  boxOverheadBytes: 40,
  /** Plaintext of the chunks that we write: one read of the reference, and a fair slice between keep-alives. */
  sealChunkBytes: 65_536,

  // HTTP inside a stream
  /** Request or response head (protocol.md §5.1, §5.4). */
  httpHeadBytes: 65_536,
  /** Header lines of a head (protocol.md §5.1). */
  httpHeaderLines: 64,
  /** Header lines of a caller of the API port: browsers and SDKs send fewer than 40. */
  apiHeaderLines: 100,
  /** Brackets inside one another in a request body: tool schemas nest, but not like this. */
  jsonDepth: 128,
  /** Commas and opening brackets in a request body: a parsed value costs up to 60 times its bytes. */
  jsonValues: 2_000_000,
  /** Request body: what fits into an envelope with room for its head. */
  requestBodyBytes: 67_108_864,

  /** An error answer is read whole before it is passed on; a longer one is no error object (protocol.md §6.3). */
  errorBodyBytes: 262_144,

  // times, in ms
  /** |head time - now| at the host, and how far a record may lie ahead: clocks of ordinary machines (wire.md §2, §4). */
  clockSkewMs: 300_000,
  /** How far issued_at of a record may lie ahead of our clock (wire.md §2). */
  recordAheadMs: 300_000,
  /** Longest validity of a record: how long an old key can be replayed to somebody who missed the new one. */
  recordLifeMs: 3_600_000,
  /** A host that has written nothing for this long sends an empty chunk (wire.md §5). */
  keepAliveMs: 2_000,
  /** Longest time over which pieces of an answer are put together: well below a keep-alive. */
  coalesceMs: 1_000,
  /** A host with a record that sends no chunk for this long is dead: two keep-alives and some jitter (wire.md §5). */
  silenceMs: 5_000,
  /** The same for hosts without a record, which send no keep-alives (protocol.md §5.4). */
  referenceSilenceMs: 300_000,
  /** A caller that takes nothing of its answer for this long is cut off: as long as a whole request may take. */
  unreadMs: 120_000,
  /** Life of an inference key until its successor is published (wire.md §6). */
  keyLifeMs: 3_600_000,
  /** How long before its end a key's successor is published: longer than the 660 s of reference evidence. */
  keyOverlapMs: 900_000,
} as const;
