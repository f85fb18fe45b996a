/**
 * The part of macOS's Security framework that makes, keeps and uses a key in a Secure Enclave, called through koffi. The
 * only file that sees a pointer: what it makes belongs to a scope and is released with it, once, also after a failure.
 * Which key is used when is for enclave-key.ts. Not yet run on Apple hardware.
 *
 * What may take long (it asks the chip, or another process) runs on koffi's threads, so that the node goes on meanwhile.
 *
 * @see Apple's headers SecKey.h, SecItem.h, SecAccessControl.h, CFBase.h; "The Create Rule" of CoreFoundation
 */
import type { LibraryHandle } from "koffi";
import { MeshError, toMeshError } from "../../../base/errors.ts";

/** Paths of the two libraries. */
export interface AppleLibraries {
  readonly coreFoundation: string;
  readonly security: string;
}

/** No files on today's macOS: the loader has them under these names. */
export const appleLibraries: AppleLibraries = {
  coreFoundation: "/System/Library/Frameworks/CoreFoundation.framework/CoreFoundation",
  security: "/System/Library/Frameworks/Security.framework/Security",
};

/** Address of a CoreFoundation object, never NULL. */
export type Ref = bigint;

/** Why a call gave nothing: an OSStatus or the code of a CFError; undefined when none was given. */
export interface Failure {
  readonly code: number | undefined;
}

const securityConstants = [
  "kSecAttrAccessControl",
  "kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly",
  "kSecAttrApplicationTag",
  "kSecAttrIsPermanent",
  "kSecAttrKeyClass",
  "kSecAttrKeyClassPrivate",
  "kSecAttrKeySizeInBits",
  "kSecAttrKeyType",
  "kSecAttrKeyTypeECSECPrimeRandom",
  "kSecAttrTokenID",
  "kSecAttrTokenIDSecureEnclave",
  "kSecClass",
  "kSecClassKey",
  "kSecKeyAlgorithmECDSASignatureMessageX962SHA256",
  "kSecPrivateKeyAttrs",
  "kSecReturnRef",
  "kSecUseDataProtectionKeychain",
] as const;

/** kCFStringEncodingUTF8. */
const utf8Encoding = 0x0800_0100;
/** kCFNumberSInt32Type. */
const int32Type = 3;
/** kSecAccessControlPrivateKeyUsage. */
const privateKeyUsage = 2 ** 30;
/** Of anything that is read here: a point has 65 bytes, a signature 72, a handle some hundred. */
const maxDataBytes = 16_384;

type FunctionName =
  | "CFRelease"
  | "CFEqual"
  | "CFGetTypeID"
  | "CFStringCreateWithCString"
  | "CFNumberCreate"
  | "CFDataCreate"
  | "CFDataGetTypeID"
  | "CFDataGetLength"
  | "CFDataGetBytePtr"
  | "CFDictionaryCreate"
  | "CFDictionaryGetValue"
  | "CFErrorGetCode"
  | "SecAccessControlCreateWithFlags"
  | "SecKeyCreateRandomKey"
  | "SecKeyCreateWithData"
  | "SecKeyCopyAttributes"
  | "SecKeyCopyPublicKey"
  | "SecKeyCopyExternalRepresentation"
  | "SecKeyCreateSignature"
  | "SecItemCopyMatching";
type Signature = readonly [result: string, inputs: readonly string[]];
type NativeFunction = ReturnType<LibraryHandle["func"]>;
type Out = (Ref | null)[];
export type Constants = Readonly<Record<(typeof securityConstants)[number] | "kCFBooleanTrue", Ref>>;

interface Native {
  readonly call: Readonly<Record<FunctionName, NativeFunction>>;
  readonly constants: Constants;
  readonly keyCalls: Ref;
  readonly valueCalls: Ref;
  /** Copies. */
  readonly readBytes: (start: Ref, length: number) => Uint8Array;
}

/**
 * Objects of one piece of work. Made by {@link SecurityFramework.scope}; not used after it has ended.
 *
 * A method that may fail for the system's reasons gives a {@link Failure}; one that fails for want of memory alone throws
 * E_CONFIG.
 */
export class Scope {
  readonly #native: Native;
  readonly #owned: Ref[] = [];

  constructor(native: Native) {
    this.#native = native;
  }

  get constants(): Constants {
    return this.#native.constants;
  }

  /** Moves an object out: whoever has it must {@link SecurityFramework.release} it. */
  keep(ref: Ref): Ref {
    this.#owned.splice(this.#owned.indexOf(ref), 1);
    return ref;
  }

  /** Releases everything that was not kept, last made first. */
  end(): void {
    for (const ref of this.#owned.splice(0).toReversed()) this.#native.call.CFRelease(ref);
  }

  text(value: string): Ref {
    return this.#own(this.#native.call.CFStringCreateWithCString(null, value, utf8Encoding));
  }

  int32(value: number): Ref {
    return this.#own(this.#native.call.CFNumberCreate(null, int32Type, Int32Array.of(value)));
  }

  data(bytes: Uint8Array): Ref {
    return this.#own(this.#native.call.CFDataCreate(null, bytes, bytes.length));
  }

  dictionary(entries: readonly (readonly [key: Ref, value: Ref])[]): Ref {
    const { call, keyCalls, valueCalls } = this.#native;
    const keys = entries.map(([key]) => key);
    const values = entries.map(([, value]) => value);
    return this.#own(call.CFDictionaryCreate(null, keys, values, entries.length, keyCalls, valueCalls));
  }

  /** The value of a key; it lives as long as the dictionary. */
  valueOf(dictionary: Ref, key: Ref): Ref | undefined {
    return refOf(this.#native.call.CFDictionaryGetValue(dictionary, key));
  }

  isEqual(a: Ref, b: Ref): boolean {
    return this.#native.call.CFEqual(a, b) !== 0;
  }

  /** Copy of the bytes; undefined when it is no CFData, or longer than any that is read here. */
  bytesOf(ref: Ref): Uint8Array | undefined {
    const { call, readBytes } = this.#native;
    if (call.CFGetTypeID(ref) !== call.CFDataGetTypeID()) return undefined;
    const length = Number(call.CFDataGetLength(ref));
    if (length > maxDataBytes) return undefined;
    const start = refOf(call.CFDataGetBytePtr(ref));
    return length === 0 || start === undefined ? new Uint8Array(0) : readBytes(start, length);
  }

  /** Usable on this machine alone, as soon as somebody has logged in since it started, and with the screen locked. */
  accessControl(): Ref | Failure {
    const { call, constants } = this.#native;
    const when = constants.kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly;
    return this.#orError((error) => call.SecAccessControlCreateWithFlags(null, when, privateKeyUsage, error));
  }

  createRandomKey(attributes: Ref): Promise<Ref | Failure> {
    return this.#orErrorLater(this.#native.call.SecKeyCreateRandomKey, attributes);
  }

  createKeyWithData(data: Ref, attributes: Ref): Promise<Ref | Failure> {
    return this.#orErrorLater(this.#native.call.SecKeyCreateWithData, data, attributes);
  }

  /** The first thing in the keychain that matches. */
  async findItem(query: Ref): Promise<Ref | Failure> {
    const found: Out = [null];
    const status = Number(await later(this.#native.call.SecItemCopyMatching, query, found));
    const ref = refOf(found[0]);
    if (ref !== undefined) this.#owned.push(ref);
    return status === 0 && ref !== undefined ? ref : { code: status };
  }

  async attributesOf(key: Ref): Promise<Ref | Failure> {
    return this.#orNothing(await later(this.#native.call.SecKeyCopyAttributes, key));
  }

  async publicKeyOf(key: Ref): Promise<Ref | Failure> {
    return this.#orNothing(await later(this.#native.call.SecKeyCopyPublicKey, key));
  }

  externalRepresentationOf(key: Ref): Promise<Ref | Failure> {
    return this.#orErrorLater(this.#native.call.SecKeyCopyExternalRepresentation, key);
  }

  /** DER ECDSA over SHA-256 of `message`: the framework hashes, so that nobody does it twice. */
  createSignature(key: Ref, message: Ref): Promise<Ref | Failure> {
    const { call, constants } = this.#native;
    const algorithm = constants.kSecKeyAlgorithmECDSASignatureMessageX962SHA256;
    return this.#orErrorLater(call.SecKeyCreateSignature, key, algorithm, message);
  }

  #own(given: unknown): Ref {
    const ref = refOf(given);
    if (ref === undefined) throw new MeshError("E_CONFIG", "macOS could not make an object: it may be out of memory");
    this.#owned.push(ref);
    return ref;
  }

  #orNothing(given: unknown): Ref | Failure {
    return refOf(given) === undefined ? { code: undefined } : this.#own(given);
  }

  #orError(ask: (error: Out) => unknown): Ref | Failure {
    const error: Out = [null];
    return this.#resultOf(ask(error), error);
  }

  async #orErrorLater(native: NativeFunction, ...inputs: readonly Ref[]): Promise<Ref | Failure> {
    const error: Out = [null];
    return this.#resultOf(await later(native, ...inputs, error), error);
  }

  /** Both the result and the error are ours to release. */
  #resultOf(given: unknown, [error]: Out): Ref | Failure {
    const reason = refOf(error);
    if (reason !== undefined) this.#owned.push(reason);
    if (refOf(given) !== undefined) return this.#own(given);
    return { code: reason === undefined ? undefined : Number(this.#native.call.CFErrorGetCode(reason)) };
  }
}

export class SecurityFramework {
  readonly #native: Native;

  constructor(native: Native) {
    this.#native = native;
  }

  /** Runs `use`, then releases what it made. What is awaited in it must have ended when it ends. */
  async scope<T>(use: (scope: Scope) => Promise<T>): Promise<T> {
    const scope = new Scope(this.#native);
    try {
      return await use(scope);
    } finally {
      scope.end();
    }
  }

  release(ref: Ref): void {
    this.#native.call.CFRelease(ref);
  }
}

/** @throws E_CONFIG koffi is not installed, or a library or something in it is not there */
export async function loadSecurityFramework(libraries: AppleLibraries): Promise<SecurityFramework> {
  let koffi: typeof import("koffi");
  try {
    koffi = await import("koffi");
  } catch (cause) {
    throw new MeshError("E_CONFIG", "the package koffi is not installed; without it macOS cannot be asked for a key", {
      cause,
    });
  }
  try {
    return new SecurityFramework(bind(koffi, libraries));
  } catch (cause) {
    throw new MeshError("E_CONFIG", "macOS's Security framework cannot be loaded", { cause });
  }
}

/** Result and arguments of what is called; NULL is null. */
const signatures: Readonly<Record<FunctionName, Signature>> = {
  CFRelease: ["void", ["void *"]],
  CFEqual: ["uint8_t", ["void *", "void *"]],
  CFGetTypeID: ["ulong", ["void *"]],
  CFStringCreateWithCString: ["void *", ["void *", "str", "uint32_t"]],
  CFNumberCreate: ["void *", ["void *", "long", "int32_t *"]],
  CFDataCreate: ["void *", ["void *", "uint8_t *", "long"]],
  CFDataGetTypeID: ["ulong", []],
  CFDataGetLength: ["long", ["void *"]],
  CFDataGetBytePtr: ["void *", ["void *"]],
  CFDictionaryCreate: ["void *", ["void *", "void **", "void **", "long", "void *", "void *"]],
  CFDictionaryGetValue: ["void *", ["void *", "void *"]],
  CFErrorGetCode: ["long", ["void *"]],
  SecAccessControlCreateWithFlags: ["void *", ["void *", "void *", "ulong", "out"]],
  SecKeyCreateRandomKey: ["void *", ["void *", "out"]],
  SecKeyCreateWithData: ["void *", ["void *", "void *", "out"]],
  SecKeyCopyAttributes: ["void *", ["void *"]],
  SecKeyCopyPublicKey: ["void *", ["void *"]],
  SecKeyCopyExternalRepresentation: ["void *", ["void *", "out"]],
  SecKeyCreateSignature: ["void *", ["void *", "void *", "void *", "out"]],
  SecItemCopyMatching: ["int32_t", ["void *", "out"]],
};

function bind(koffi: typeof import("koffi"), { coreFoundation, security }: AppleLibraries): Native {
  const cf = koffi.load(coreFoundation);
  const sec = koffi.load(security);
  const pairs = Object.entries(signatures).map(([name, [result, types]]) => {
    const inputs = types.map((type) => (type === "out" ? koffi.out("void **") : type));
    return [name, (name.startsWith("CF") ? cf : sec).func(name, result, inputs)];
  });
  // a constant is a variable that holds the address of a string
  const constant = (library: LibraryHandle, name: string): Ref => {
    const ref = refOf(koffi.decode(library.symbol(name), "void *"));
    if (ref === undefined) throw new MeshError("E_CONFIG", `${name} is NULL`);
    return ref;
  };
  return {
    call: Object.fromEntries(pairs) as Native["call"],
    constants: Object.fromEntries([
      ["kCFBooleanTrue", constant(cf, "kCFBooleanTrue")],
      ...securityConstants.map((name) => [name, constant(sec, name)]),
    ]) as Constants,
    keyCalls: cf.symbol("kCFTypeDictionaryKeyCallBacks") as Ref,
    valueCalls: cf.symbol("kCFTypeDictionaryValueCallBacks") as Ref,
    readBytes: (start, length) => Uint8Array.from(koffi.decode(start, koffi.array("uint8_t", length)) as number[]),
  };
}

function refOf(given: unknown): Ref | undefined {
  return typeof given === "bigint" && given !== 0n ? given : undefined;
}

function later(call: NativeFunction, ...args: readonly (Ref | Out)[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error: unknown, result: unknown) => {
      if (error) reject(toMeshError(error));
      else resolve(result);
    });
  });
}
