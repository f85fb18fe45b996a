/**
 * This node's place in its mesh: which mesh that is, the credential by which the node was admitted, who else is a member, and
 * the invites that it issues. In an invite-only mesh whoever shows no credential is nobody; in an open one everybody is a
 * member. Knows no connection: the mesh asks its gate, serves stream 0x06 by `answer`, and opens the stream that `join` needs.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { BoundedLog } from "../base/bounded-log.ts";
import type { EndpointId } from "../base/brand.ts";
import { equal, fromHex, toHex } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { isMeshError, MeshError, toMeshError, unlessMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { Rate } from "../base/rate.ts";
import type { Signal } from "../base/signal.ts";
import {
  authorityFrom,
  bearerKeyOf,
  CheckedLinks,
  credentialLacks,
  extendCredential,
  firstCredential,
  mayAdmit,
  meshIdOf,
  signGrant,
  type VerifiedCredential,
  type VerifiedGrant,
  verifyCredential,
  verifyGrant,
} from "../crypto/admission.ts";
import { type Identity, newIdentitySeed } from "../crypto/identity.ts";
import type { VerifiedRecord } from "../crypto/record.ts";
import {
  type Admitter,
  type AnswerAdmission,
  answersAdmission,
  askAdmission,
  type OpenAdmission,
} from "../mesh/admission.ts";
import type { Admittance, Credentials, Gate } from "../mesh/gate.ts";
import {
  admissionCodes,
  type AdmissionRefusal,
  type GrantId,
  grantIdFromBytes,
  type MemberRole,
} from "../wire/admission.ts";
import { asksForSomething, type Invite, type InviteGrant, type MinimumPolicy, strictest } from "../wire/invite.ts";
import { defaults } from "./defaults.ts";
import {
  type GrantState,
  grantState,
  inviteBook,
  type InviteBook,
  type IssuedGrant,
  refusalBy,
  revokedGrants,
  withGrant,
  withRevoked,
  withUse,
} from "./invite-book.ts";
import { chooseMesh } from "./mesh-choice.ts";
import { authoritySeed, isMeshId, type KnownMesh, readAuthority, readMeshes, writeMeshes } from "./mesh-file.ts";
import { RevokedGrants } from "./revoked-grants.ts";
import { BookFile } from "./book-file.ts";

export interface AdmissionOptions {
  /** Data directory, of which this process holds the lock. */
  readonly directory: string;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Log;
  /** By which the operator wants to join; none: the mesh of the last start, or a new one. */
  readonly invites: readonly Invite[];
  /** Whether the operator wants an open mesh. */
  readonly open: boolean;
  /** Whether the operator wants one that asks for invites, and says so. */
  readonly inviteOnly?: boolean | undefined;
  /** Of the mesh, for people. */
  readonly name?: string | undefined;
  /** Of an open mesh with that name. @default 32 random digits */
  readonly openId?: string | undefined;
  /** Text of an invite with our address of now. */
  readonly token: (mesh: { readonly granted?: TokenGrant; readonly name?: string | undefined }) => string;
  /** What our record says of our admission has changed: it is to be signed anew at once. */
  readonly onOwnChange?: () => void;
  /** Members have been put out: whoever is one is to be judged again. Never called from inside of `judge`. */
  readonly onRevoked?: () => void;
}

export type TokenGrant = Pick<InviteGrant, "bytes" | "bearerSeed">;

export interface InviteOptions {
  /** @default our own */
  readonly role?: MemberRole | undefined;
  /** Whether who is admitted may invite others. @default true */
  readonly delegable?: boolean | undefined;
  /** ms from now. @default a week */
  readonly lifeMs?: number | undefined;
  /** Nodes that may be admitted; 0: no limit. @default 0 */
  readonly uses?: number | undefined;
  /** For people, kept here. */
  readonly note?: string | undefined;
}

export interface MadeInvite {
  /** A secret, unless the mesh is open. */
  readonly token: string;
  /** What it allows; undefined: the mesh is open, and it allows nothing that the address does not. */
  readonly grant: GrantStatus | undefined;
}

/** A grant of ours without its secret. */
export interface GrantStatus extends Omit<IssuedGrant, "mesh" | "standing"> {
  readonly state: GrantState;
  /** Whether it is the one that the node shows by itself. */
  readonly standing: boolean;
}

/** What /api/status says of the mesh. */
export interface MeshStatus {
  readonly mode: "invite" | "open";
  /** null: an open mesh of which no member has told it so far. */
  readonly id: string | null;
  readonly name: string | null;
  /** What this node may do there; null: it was not admitted. */
  readonly role: MemberRole | null;
  readonly may_invite: boolean;
  /** Why our own credential does not count now; null: it does, or none is needed. */
  readonly why: string | null;
}

interface Checked {
  readonly bytes: Uint8Array;
  /** Or why it is none. */
  readonly verdict: VerifiedCredential | string;
}

export class Admission implements Admitter {
  readonly #options: AdmissionOptions;
  readonly #book: BookFile<InviteBook>;
  readonly #revoked: RevokedGrants;
  readonly #refusals: BoundedLog;
  readonly #meshesPath: string;
  /** Serves stream 0x06. */
  readonly answer: AnswerAdmission;
  /** Ours first. */
  #meshes: readonly [KnownMesh, ...KnownMesh[]];
  #credential: VerifiedCredential | undefined;
  /** Longest not used first. */
  readonly #checked = new Map<EndpointId, Checked>();
  readonly #links = new CheckedLinks(defaults.linksChecked);
  /** Records whose word about their owner's grants was taken. */
  readonly #heard = new WeakSet<VerifiedRecord>();
  #judgingSoon = false;
  /** Own grants that were taken back, of the book that stands beside them. */
  #ownRevoked: { readonly book: InviteBook; readonly ids: ReadonlySet<GrantId> } | undefined;

  /**
   * Makes a mesh where there is none.
   * @throws E_STATE a file cannot be used · E_USAGE, E_CONFIG the wishes do not go together
   */
  constructor(options: AdmissionOptions) {
    const { directory, identity, log, invites, open, inviteOnly, name, openId } = options;
    this.#options = options;
    this.#refusals = new BoundedLog(log);
    this.answer = answersAdmission({
      self: identity.id,
      admitter: this,
      rate: new Rate(defaults.admissionRate),
      frameMs: defaults.admissionFrameMs,
      onRefused: (peer, code) =>
        this.#refusals.write("info", { event: "admission-refused", peer, reason: reasonOf(code) }),
    });
    this.#meshesPath = join(directory, "mesh.json");
    // strangers wait while the file is locked, and everybody with them: not for long
    this.#book = new BookFile(join(directory, "invites.json"), inviteBook, {
      lockMs: 50,
      onDamaged: ({ code, message }) => log.write("error", { event: "state-not-kept", code, what: message }),
    });
    this.#revoked = new RevokedGrants(join(directory, "revoked-grants.json"));
    const known = readMeshes(this.#meshesPath);
    const choice = chooseMesh({ directory, known, invites, open, inviteOnly, name, openId });
    const chosen = choice.kind === "create" ? created(directory, name) : withId(choice.mesh, invites);
    const minimum = strictest([chosen.minimum, ...invites.map((invite) => invite.minimum)]);
    const mesh = asksForSomething(minimum) ? { ...chosen, minimum } : chosen;
    this.#meshes = [mesh, ...known.filter(({ mode, id }) => mode !== mesh.mode || id !== mesh.id)];
    const stored = this.#stored();
    const counts = stored && this.#lack(stored) === undefined;
    this.#credential = counts ? stored : (this.#fromAuthority() ?? stored);
    this.#keepMeshes();
  }

  get mode(): "invite" | "open" {
    return this.#mesh.mode;
  }

  /** Hex digits; undefined: an open mesh that was joined by address, until {@link adoptId}. */
  get meshId(): string | undefined {
    return this.#mesh.id;
  }

  get meshName(): string | undefined {
    return this.#mesh.name;
  }

  /** What invites to this mesh demand of hosts: those we join by now, and those of earlier starts. */
  get minimum(): MinimumPolicy | undefined {
    return this.#mesh.minimum;
  }

  /** For our record: encoded; undefined: we were not admitted so far, or need not be. */
  get credential(): Uint8Array | undefined {
    return this.#credential?.bytes;
  }

  /** For our record: ids of our grants that were taken back, 16 bytes each. */
  get revokedGrants(): readonly Uint8Array[] {
    if (this.#mesh.mode === "open") return [];
    return revokedGrants(this.#book.book, this.#mesh.id).map((id) => fromHex(id, 16));
  }

  /** What we may do in the mesh; undefined: we are no member now. */
  get role(): MemberRole | undefined {
    if (this.#mesh.mode === "open") return "host";
    return this.#lacking() === undefined ? this.#credential?.own.role : undefined;
  }

  status(): MeshStatus {
    const { mode, id, name } = this.#mesh;
    return {
      mode,
      id: id ?? null,
      name: name ?? null,
      role: this.role ?? null,
      may_invite: this.mayInvite,
      why: this.#lacking() ?? null,
    };
  }

  /** An open mesh that was joined by address learns its id from its members; once known, it stays. */
  adoptId(id: string): void {
    const mesh = this.#mesh;
    if (mesh.mode !== "open" || mesh.id !== undefined || !isMeshId(id)) return;
    this.#setMesh({ ...mesh, id });
  }

  // ---- who is a member

  /** Cheap about bytes that were judged before. */
  gate(): Gate {
    return { judge: (shown) => this.#judge(shown) };
  }

  /** Takes over what a member says of its own grants; of any verified record, whoever passed it on. */
  hear(record: VerifiedRecord): void {
    // once: what others have pushed out since would come back with every gossip, and have everybody judged anew each time
    if (this.#heard.has(record)) return;
    const { fields } = record;
    const { endpointId: issuer, credential, revokedGrants: told = [] } = fields;
    if (credential === undefined || told.length === 0 || issuer === this.#options.identity.id) return;
    const checked = this.#check(issuer, credential);
    // somebody who was put out has no say any more, and who may not invite has nothing to take back
    if (typeof checked === "string" || !checked.own.delegable || this.#lack(checked) !== undefined) return;
    this.#heard.add(record);
    if (!this.#revoked.hear(issuer, checked.links.length, told.map(grantIdFromBytes)) || this.#judgingSoon) return;
    // the one who asks us to judge is in the midst of it, and may have heard more
    this.#judgingSoon = true;
    setImmediate(() => {
      this.#judgingSoon = false;
      this.#options.onRevoked?.();
    });
  }

  /** Of a node whose record need not be at hand: what it was admitted as, by the bytes that it shows. */
  judge(id: EndpointId, credential: Uint8Array): Admittance {
    if (this.#mesh.mode === "open") return { kind: "member", role: "host" };
    const refused = (why: string): Admittance => ({ kind: "refused", why });
    const checked = this.#check(id, credential);
    if (typeof checked === "string") return refused(checked);
    const lacking = this.#lack(checked);
    if (lacking !== undefined) return refused(`its credential ${lacking}`);
    return { kind: "member", role: checked.own.role };
  }

  #judge({ id, record }: Credentials): Admittance {
    if (this.#mesh.mode === "open") return { kind: "member", role: "host" };
    const refused = (why: string): Admittance => ({ kind: "refused", why });
    if (record === undefined) return refused("it signs no record, and this mesh is invite-only");
    const { credential } = record.fields;
    if (credential === undefined) return refused("it shows no credential, and this mesh is invite-only");
    this.hear(record);
    return this.judge(id, credential);
  }

  /** What stays true of these bytes, looked at once. */
  #check(subject: EndpointId, bytes: Uint8Array): VerifiedCredential | string {
    const mesh = this.#mesh;
    if (mesh.mode === "open") return "this mesh is open";
    const before = this.#checked.get(subject);
    const known = before && equal(before.bytes, bytes) ? before : undefined;
    const verdict = known?.verdict ?? verdictOn(bytes, { authority: mesh.authority, subject, links: this.#links });
    this.#checked.delete(subject);
    this.#checked.set(subject, { bytes, verdict });
    if (this.#checked.size > defaults.credentialsChecked) {
      const [oldest] = this.#checked.keys();
      if (oldest !== undefined) this.#checked.delete(oldest);
    }
    return verdict;
  }

  #lack(credential: VerifiedCredential): string | undefined {
    return credentialLacks(credential, this.#options.clock.now(), (issuer, grant) =>
      issuer === this.#options.identity.id ? this.#hasRevoked(grant) : this.#revoked.has(issuer, grant),
    );
  }

  #hasRevoked(id: GrantId): boolean {
    const book = this.#book.book;
    if (this.#ownRevoked?.book !== book) {
      const ids = book.grants.flatMap((grant) => (grant.revokedMs === undefined ? [] : [grant.id]));
      this.#ownRevoked = { book, ids: new Set(ids) };
    }
    return this.#ownRevoked.ids.has(id);
  }

  // ---- being admitted

  /** Why we are no member now, as others see it; undefined: we are. */
  #lacking(): string | undefined {
    if (this.#mesh.mode === "open") return undefined;
    if (!this.#credential) return "this node was not admitted to its mesh so far";
    const lacking = this.#lack(this.#credential);
    return lacking === undefined ? undefined : `this node's credential ${lacking}`;
  }

  /**
   * Has this node admitted by an invite, if it needs to be: a credential that counts needs no other one, also when the
   * invite has ended since.
   *
   * @param open to the node that issued the invite
   * @returns    whether it was admitted just now
   * @throws     E_INVITE the invite has expired, or its issuer says no · as askAdmission() · E_STATE the credential cannot be kept
   */
  async join({ granted }: Invite, open: OpenAdmission, signal: Signal): Promise<boolean> {
    const { identity, clock, log } = this.#options;
    const mesh = this.#mesh;
    if (granted === undefined || mesh.mode === "open" || this.#lacking() === undefined) return false;
    const { authority, expiresMs, issuer } = granted.grant;
    if (authority !== mesh.authority) throw new MeshError("E_BUG", "the invite is for another mesh than was chosen");
    if (clock.now() >= expiresMs) {
      throw new MeshError("E_INVITE", `the invite expired on ${dateText(expiresMs)}: ask for a fresh one`);
    }
    const credential = await askAdmission(open, {
      self: identity.id,
      granted,
      answerMs: defaults.admissionAnswerMs,
      signal,
      now: () => clock.now(),
    });
    this.#credential = credential;
    this.#setMesh({ ...mesh, credential: credential.bytes });
    log.write("info", { event: "admitted", mesh: mesh.id, role: credential.own.role, by: issuer });
    this.#options.onOwnChange?.();
    return true;
  }

  // ---- admitting others

  look({ grant }: VerifiedGrant, joiner: EndpointId): AdmissionRefusal | undefined {
    const mesh = this.#mesh;
    if (mesh.mode === "open" || grant.authority !== mesh.authority) return admissionCodes.unknownGrant;
    const own = this.#credential;
    if (!own || this.#lacking() !== undefined || mayAdmit(own, grant.role) !== undefined) {
      return admissionCodes.mayNotInvite;
    }
    return refusalBy(this.#book.book, grant.id, joiner, this.#options.clock.now());
  }

  admit(granted: VerifiedGrant, joiner: EndpointId): VerifiedCredential | AdmissionRefusal {
    const { identity, clock, log } = this.#options;
    const { id, role, delegable } = granted.grant;
    const own = this.#credential;
    const now = clock.now();
    let refusal = this.look(granted, joiner);
    if (refusal !== undefined || !own) return refusal ?? admissionCodes.mayNotInvite;
    try {
      // decided on what is on disk now, under the lock: two at once cannot both be the last
      this.#book.update((book) => {
        refusal = refusalBy(book, id, joiner, now);
        return refusal === undefined ? withUse(book, id, joiner, now) : book;
      });
    } catch (thrown) {
      const { code, message } = toMeshError(thrown);
      log.write("error", { event: "state-not-kept", code, what: message });
      return admissionCodes.busy;
    }
    if (refusal !== undefined) return refusal;
    log.write("info", { event: "member-admitted", peer: joiner, role, grant: id });
    const given = { subject: joiner, role, delegable, issuedAtMs: now, notAfterMs: now + defaults.credentialMs };
    return extendCredential({ credential: own, identity, given: { ...given, grantId: id } });
  }

  // ---- invites

  /** Whether we may let others in, in our own role. */
  get mayInvite(): boolean {
    return this.#mesh.mode === "open" || this.#inviting() !== undefined;
  }

  /** @throws E_REFUSED we may not invite · E_INPUT what was asked for makes no sense · E_STATE it cannot be kept */
  invite(options: InviteOptions = {}): MadeInvite {
    const mesh = this.#mesh;
    if (mesh.mode === "invite") {
      const { token, grant } = this.#issue(mesh, options, false);
      return { token, grant: this.#grantStatus(grant) };
    }
    if (Object.values(options).some((value) => value !== undefined)) {
      const why = "whoever has this node's address is a member, with an invite or without";
      throw new MeshError("E_INPUT", `this mesh is open: an invite to it cannot be limited, because ${why}`);
    }
    return { token: this.#openToken(), grant: undefined };
  }

  /**
   * The invite that the node shows by itself: the same until less than a day is left of it. Undefined: we may not invite.
   * @throws E_STATE a new one cannot be kept · E_INPUT there are too many
   */
  standingInvite(): string | undefined {
    const mesh = this.#mesh;
    if (mesh.mode === "open") return this.#openToken();
    const own = this.#inviting()?.own;
    if (!own) return undefined;
    const { identity, clock } = this.#options;
    // none can last longer than our own credential
    const leastMs = Math.min(clock.now() + defaults.standingInviteLeftMs, own.notAfterMs);
    for (const { standing, revokedMs, expiresMs } of this.#book.book.grants) {
      if (!standing || revokedMs !== undefined || expiresMs < leastMs) continue;
      const grant = unlessMeshError(() => verifyGrant(standing.bytes))?.grant;
      // a directory that was given another key, or went to another mesh
      if (grant?.issuer === identity.id && grant.authority === mesh.authority) return this.#token(standing);
    }
    return this.#issue(mesh, {}, true).token;
  }

  /** All that this node has issued for its mesh, the newest first. */
  list(): readonly GrantStatus[] {
    const { id } = this.#mesh;
    const ours = this.#book.book.grants.filter(({ mesh }) => mesh === id);
    return ours.toReversed().map((grant) => this.#grantStatus(grant));
  }

  /**
   * Takes a grant back: nobody is admitted by it any more, and whoever was is no member from now on, with all whom they have
   * invited. Others hear it with our next record.
   *
   * @param prefix first digits of its id, four at least
   * @returns      undefined: no grant of ours begins with them
   * @throws       E_INPUT too few digits, or several grants begin with them · E_STATE
   */
  revoke(prefix: string): GrantStatus | undefined {
    if (!/^[0-9a-f]{4,32}$/.test(prefix)) {
      throw new MeshError("E_INPUT", "an invite is named by its id, or by the first digits of it, four at least");
    }
    const { clock, log } = this.#options;
    let revoked: IssuedGrant | undefined;
    let isNew = false;
    let admitted = 0;
    this.#book.update((book) => {
      const [found, another] = book.grants.filter(({ id, mesh }) => mesh === this.#mesh.id && id.startsWith(prefix));
      if (another) throw new MeshError("E_INPUT", `several invites begin with ${prefix}: give more digits`);
      if (!found) return book;
      admitted = found.usedBy.length;
      const after = withRevoked(book, found.id, clock.now());
      isNew = after !== book;
      revoked = after.grants.find(({ id }) => id === found.id);
      return after;
    });
    if (revoked && isNew) {
      log.write("info", { event: "invite-revoked", grant: revoked.id, admitted });
      this.#options.onOwnChange?.();
      this.#options.onRevoked?.();
    }
    return revoked && this.#grantStatus(revoked);
  }

  /** To be called every few seconds, and at the end: puts on disk what others have taken back. @throws E_STATE */
  keep(): void {
    this.#revoked.keep();
  }

  #inviting(): VerifiedCredential | undefined {
    const own = this.#credential;
    if (!own || this.#lacking() !== undefined || mayAdmit(own, own.own.role) !== undefined) return undefined;
    return own;
  }

  #issue(
    { id: mesh, authority }: Extract<KnownMesh, { mode: "invite" }>,
    { role, delegable = true, lifeMs = defaults.inviteMs, uses = 0, note }: InviteOptions,
    isStanding: boolean,
  ): { readonly token: string; readonly grant: IssuedGrant } {
    const { identity, clock } = this.#options;
    const own = this.#credential;
    const lacking = this.#lacking() ?? (own && mayAdmit(own, role ?? own.own.role));
    if (!own || lacking !== undefined) throw new MeshError("E_REFUSED", `no invite: ${lacking}`);
    const now = clock.now();
    const bearerSeed = newIdentitySeed();
    const signed = signGrant(identity, {
      authority,
      id: grantIdFromBytes(new Uint8Array(randomBytes(16))),
      role: role ?? own.own.role,
      expiresMs: Math.min(now + lifeMs, own.own.notAfterMs),
      uses,
      delegable,
      bearer: bearerKeyOf(bearerSeed),
    });
    const secret = { bytes: signed.bytes, bearerSeed };
    const { id, role: given, expiresMs } = signed.grant;
    const grant: IssuedGrant = {
      id,
      mesh,
      role: given,
      delegable,
      createdMs: now,
      expiresMs,
      uses,
      note,
      usedBy: [],
      revokedMs: undefined,
      standing: isStanding ? secret : undefined,
    };
    this.#book.update((book) => withGrant(book, grant, now));
    return { token: this.#token(secret), grant };
  }

  #token(granted: TokenGrant): string {
    return this.#options.token({ granted, name: this.#mesh.name });
  }

  #openToken(): string {
    return this.#options.token({ name: this.#mesh.name });
  }

  #grantStatus({ mesh: _mesh, standing, ...grant }: IssuedGrant): GrantStatus {
    const state = grantState({ ...grant, mesh: _mesh, standing }, this.#options.clock.now());
    return { ...grant, state, standing: standing !== undefined };
  }

  // ---- on disk

  get #mesh(): KnownMesh {
    return this.#meshes[0];
  }

  /** As kept: whether it counts now is looked at whenever that matters. */
  #stored(): VerifiedCredential | undefined {
    const mesh = this.#mesh;
    if (mesh.mode === "open" || !mesh.credential) return undefined;
    // of another key of this directory, it is not ours
    const verdict = verdictOn(mesh.credential, { authority: mesh.authority, subject: this.#options.identity.id });
    return typeof verdict === "string" ? undefined : verdict;
  }

  /** Who made the mesh admits itself. */
  #fromAuthority(): VerifiedCredential | undefined {
    const mesh = this.#mesh;
    const { directory, identity, clock } = this.#options;
    if (mesh.mode === "open") return undefined;
    const seed = readAuthority(authorityPath(directory));
    const authority = seed && authorityFrom(seed);
    if (authority?.key !== mesh.authority) return undefined;
    const now = clock.now();
    const credential = firstCredential(authority, {
      subject: identity.id,
      role: "host",
      delegable: true,
      issuedAtMs: now,
      notAfterMs: now + defaults.credentialMs,
    });
    this.#meshes = [{ ...mesh, credential: credential.bytes }, ...this.#meshes.slice(1)];
    return credential;
  }

  #setMesh(mesh: KnownMesh): void {
    this.#meshes = [mesh, ...this.#meshes.slice(1)];
    this.#keepMeshes();
  }

  #keepMeshes(): void {
    writeMeshes(this.#meshesPath, this.#meshes);
  }
}

function authorityPath(directory: string): string {
  return join(directory, "mesh-authority");
}

/** The key is on disk before anything names it. */
function created(directory: string, name: string | undefined): KnownMesh {
  const { key } = authorityFrom(authoritySeed(authorityPath(directory)));
  return { mode: "invite", id: meshIdOf(key), name, authority: key, credential: undefined };
}

/** An open mesh of our own gets an id; one that is joined has one already. */
function withId(mesh: KnownMesh, invites: readonly Invite[]): KnownMesh {
  if (mesh.mode === "invite" || mesh.id !== undefined || invites.length > 0) return mesh;
  return { ...mesh, id: toHex(new Uint8Array(randomBytes(16))) };
}

function verdictOn(bytes: Uint8Array, whose: Parameters<typeof verifyCredential>[1]): VerifiedCredential | string {
  try {
    return verifyCredential(bytes, whose);
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
    return thrown.message; // our own words, see verifyCredential()
  }
}

function reasonOf(code: number): string {
  return Object.entries(admissionCodes).find(([, known]) => known === code)?.[0] ?? "unknown";
}

function dateText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
