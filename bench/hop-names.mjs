// The hops by name, in the order in which they are asked and shown.

export const hopTitles = {
  engine: "engine, asked directly",
  floor: "the floor: a minimal node:http proxy",
  bare: "two bare proxies, sealed: the least that sealing over two hops can be",
  "bare-iroh": "the same over iroh",
  peer: "the peer: @portkey-ai/gateway, unsealed",
  local: "sealmesh, own engine",
  direct: "sealmesh, sealed, direct",
  iroh: "sealmesh, sealed, over iroh",
  relay: "sealmesh, sealed, through a relay",
  plain: "sealmesh, plain, to an old node over iroh",
};

export const hopNames = Object.keys(hopTitles);
