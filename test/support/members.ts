/**
 * Members of invite-only meshes without a mesh around them: each has an identity, a data directory, an Admission and a
 * transport on one in-memory network, on which it serves stream 0x06. The clock stands still unless it is moved.
 */
import type { LogEvent } from "../../src/base/log.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { type VerifiedCredential, verifyCredential } from "../../src/crypto/admission.ts";
import { type Identity, identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { readInvite } from "../../src/crypto/invite.ts";
import { signRecord, type VerifiedRecord } from "../../src/crypto/record.ts";
import type { Admittance } from "../../src/mesh/gate.ts";
import { Admission, type AdmissionOptions } from "../../src/node/admission.ts";
import { alpns, type Transport } from "../../src/transport/transport.ts";
import {
  type AdmissionChallenge,
  type AdmissionReply,
  decodeAdmissionChallenge,
  decodeAdmissionReply,
  encodeAdmissionProof,
  encodeAdmissionRequest,
} from "../../src/wire/admission.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import { encodeInvite, type InviteGrant } from "../../src/wire/invite.ts";
import { limits } from "../../src/wire/limits.ts";
import { sealStreams } from "../../src/wire/stream-types.ts";
import { temporaryDirectory } from "./mesh.ts";
import { testNetwork } from "./test-network.ts";

export interface Member {
  readonly identity: Identity;
  readonly directory: string;
  readonly transport: Transport;
  /** The one of the last start. */
  admission: Admission;
  readonly events: LogEvent[];
  /** How often each hook was called. */
  readonly told: { own: number; revoked: number };
  /** What it would show of itself now. */
  record(over?: { readonly credential?: Uint8Array | undefined }): VerifiedRecord;
  /** What it makes of another one. */
  judge(other: Member): Admittance;
  /** Starts anew on the same directory. */
  restart(options?: MemberOptions): void;
}

export type MemberOptions = Partial<Pick<AdmissionOptions, "open" | "name" | "openId">> & {
  /** Invites to join by. */
  readonly join?: readonly string[];
};

export interface Circle {
  /** Unix ms of everybody's clock. */
  nowMs: number;
  member(options?: MemberOptions): Promise<Member>;
  /** A stream to a member on a connection of its own, nothing written yet. */
  open(from: Member, to: Member): Promise<ByteStream>;
  /** Has `joiner`, which was started with this token, admitted by whoever issued it. */
  join(joiner: Member, issuer: Member, token: string): Promise<boolean>;
  /** A node that was started with the token and admitted by it. */
  joined(issuer: Member, token: string): Promise<Member>;
}

export const startMs = 1_800_000_000_000;

export function circle(): Circle {
  const network = testNetwork();
  const circleOf: Circle = {
    nowMs: startMs,
    async member(options = {}) {
      const identity = identityFrom(newIdentitySeed());
      const directory = temporaryDirectory();
      const transport = await network.start({ secretKey: identity.seed, alpns, bind: "127.0.0.1:0" });
      const events: LogEvent[] = [];
      const told = { own: 0, revoked: 0 };
      let seq = 0n;
      const started = ({ join = [], ...more }: MemberOptions = {}): Admission =>
        new Admission({
          directory,
          identity,
          clock: { now: () => circleOf.nowMs },
          log: { write: (_level, event) => void events.push(event) },
          invites: join.map(readInvite),
          open: false,
          token: (mesh) => encodeInvite(transport.address(), mesh),
          onOwnChange: () => void (told.own += 1),
          onRevoked: () => void (told.revoked += 1),
          ...more,
        });
      const member: Member = {
        identity,
        directory,
        transport,
        admission: started(options),
        events,
        told,
        record: (over = {}) => {
          const { credential, revokedGrants } = { ...of(member.admission), ...over };
          return signRecord(identity, {
            seq: (seq += 1n),
            issuedAtMs: circleOf.nowMs,
            notAfterMs: circleOf.nowMs + 3_600_000,
            inferenceKey: undefined,
            keyNotAfterMs: undefined,
            capabilities: [],
            ...(credential ? { credential } : {}),
            revokedGrants,
          });
        },
        judge: (other) => shown(member, other.identity, other.record()),
        restart: (again) => void (member.admission = started(again)),
      };
      void serve(member);
      return member;
    },
    async open(from, to) {
      const connection = await from.transport.dial(to.transport.address(), { alpn: "sealmesh/1", timeoutMs: 5_000 });
      return await connection.open();
    },
    join: (joiner, issuer, token) =>
      joiner.admission.join(readInvite(token), () => circleOf.open(joiner, issuer), new AbortController().signal),
    async joined(issuer, token) {
      const joiner = await circleOf.member({ join: [token] });
      await circleOf.join(joiner, issuer, token);
      return joiner;
    },
  };
  return circleOf;
}

function of({ credential, revokedGrants }: Admission): Pick<Admission, "credential" | "revokedGrants"> {
  return { credential, revokedGrants };
}

/** What a member makes of somebody who shows this record. */
export function shown(
  { admission }: Member,
  { id }: Pick<Identity, "id">,
  record: VerifiedRecord | undefined,
): Admittance {
  return admission.gate().judge({ id, from: "itself", record, ownership: undefined });
}

async function serve(member: Member): Promise<void> {
  for await (const connection of member.transport.incoming()) {
    void (async () => {
      for await (const stream of connection.streams()) {
        const reader = new StreamReader(stream);
        const answered = reader.byte().then((type) => {
          if (type !== sealStreams.admission) throw new Error(`a stream of type ${type}`);
          return member.admission.answer(stream, reader, connection.peer);
        });
        answered.catch(() => stream.abort());
      }
    })();
  }
}

/** Stream 0x06 frame by frame, for joiners that do not keep to it. */
export interface RawAdmission {
  /** @returns what comes back, or its code */
  request(grant: Uint8Array, nonce?: Uint8Array): Promise<AdmissionChallenge>;
  prove(signature: Uint8Array): Promise<AdmissionReply>;
}

export async function rawAdmission(all: Circle, from: Member, to: Member): Promise<RawAdmission> {
  const stream = await all.open(from, to);
  const reader = new StreamReader(stream);
  const ask = async (frame: Uint8Array): Promise<Uint8Array> => {
    await stream.write(frame);
    return await reader.frame(limits.admissionFrameBytes);
  };
  return {
    request: async (grant, nonce = new Uint8Array(32)) => {
      const frame = encodeFrame(encodeAdmissionRequest({ grant, nonce }));
      return decodeAdmissionChallenge(await ask(Uint8Array.of(sealStreams.admission, ...frame)));
    },
    prove: async (signature) => decodeAdmissionReply(await ask(encodeFrame(encodeAdmissionProof(signature)))),
  };
}

/** The grant in a token. */
export function grantedBy(token: string): InviteGrant {
  const { granted } = readInvite(token);
  if (granted === undefined) throw new Error("the invite has no grant");
  return granted;
}

/** What a member was given, all links of it. */
export function credentialOf({ admission, identity }: Member, token: string): VerifiedCredential {
  const { authority } = grantedBy(token).grant;
  if (!admission.credential) throw new Error("not admitted");
  return verifyCredential(admission.credential, { authority, subject: identity.id });
}
