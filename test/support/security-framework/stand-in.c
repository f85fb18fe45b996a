/*
 * Stands in for macOS's CoreFoundation and Security on any other system: the same symbols with the same meaning as far as
 * the collector of secure-enclave evidence uses them, P-256 by OpenSSL inside. What the real libraries would answer with
 * a crash or with nothing at all is counted here as a violation: an object used after its last release, NULL where an
 * object must be, an object of another type, a signature asked of what is no private key.
 *
 * cc -shared -fPIC -o stand-in.so stand-in.c -lcrypto
 */
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef const void *CFTypeRef;
typedef long CFIndex;
typedef int32_t OSStatus;

enum { errSecSuccess = 0, errSecParam = -50, errSecNotAvailable = -25291, errSecItemNotFound = -25300, errSecMissingEntitlement = -34018 };

typedef enum { kString = 1, kData, kNumber, kBoolean, kDictionary, kError, kKey, kAccess } Type;
static const char *typeNames[] = {"", "string", "data", "number", "boolean", "dictionary", "error", "key", "access control"};

typedef struct Object {
  struct Object *next;
  Type type;
  long references;
  bool immortal;
  uint8_t *bytes; /* string, data */
  CFIndex length; /* string, data; entries of a dictionary */
  long number;    /* number, boolean, error */
  struct Object **keys, **values;
  EVP_PKEY *pkey;
  bool isPrivate, isPermanent, inEnclave;
} Object;

/* The whole state behind one lock: calls come from several threads. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Object *everMade;
static long violations;
static char lastViolation[200], calls[4000];
static bool hasChip = true, isEntitled = true, givesHandle = true, heedsHandle = true, hashesTwice = false, heedsToken = true;
static uint8_t chipSecret = 0x5a;
static char failing[64];
static long failingCode;
static unsigned slowMs;

/* The keychain: one key per tag. */
static struct { uint8_t tag[64]; CFIndex length; EVP_PKEY *pkey; } keychain[8];
static int keychainKeys;

#define CONSTANTS(X) \
  X(kSecAttrKeyType, "type") X(kSecAttrKeyTypeECSECPrimeRandom, "73") X(kSecAttrKeySizeInBits, "bsiz") \
  X(kSecAttrTokenID, "tkid") X(kSecAttrTokenIDSecureEnclave, "com.apple.setoken") X(kSecPrivateKeyAttrs, "private") \
  X(kSecAttrIsPermanent, "perm") X(kSecAttrApplicationTag, "atag") X(kSecAttrAccessControl, "accc") \
  X(kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly, "cku") X(kSecAttrKeyClass, "kcls") X(kSecAttrKeyClassPrivate, "1") \
  X(kSecClass, "class") X(kSecClassKey, "keys") X(kSecReturnRef, "r_Ref") X(kSecUseDataProtectionKeychain, "nleg") \
  X(kSecKeyAlgorithmECDSASignatureMessageX962SHA256, "algid:sign:ECDSA:message-X962:SHA256")
#define DECLARE(name, text) CFTypeRef name;
CONSTANTS(DECLARE)
CFTypeRef kCFBooleanTrue, kCFBooleanFalse;
struct { CFIndex version; void *functions[5]; } kCFTypeDictionaryKeyCallBacks, kCFTypeDictionaryValueCallBacks;

static void unlock(pthread_mutex_t **held) { pthread_mutex_unlock(*held); }
#define LOCKED __attribute__((cleanup(unlock), unused)) pthread_mutex_t *held = &lock; pthread_mutex_lock(&lock)

static void *violation(const char *function, const char *what) {
  violations += 1;
  snprintf(lastViolation, sizeof lastViolation, "%s: %s", function, what);
  return NULL;
}

static Object *make(Type type) {
  Object *made = calloc(1, sizeof *made);
  made->type = type;
  made->references = 1;
  made->next = everMade;
  everMade = made;
  return made;
}

static Object *makeBytes(Type type, const void *bytes, CFIndex length) {
  Object *made = make(type);
  made->bytes = malloc((size_t)length + 1);
  memcpy(made->bytes, bytes, (size_t)length);
  made->bytes[length] = 0;
  made->length = length;
  return made;
}

/* The live object at an address; `type` 0 is any. Memory is never given back, so a dead one is still recognised. */
static Object *objectAt(const char *function, CFTypeRef address, Type type) {
  for (Object *one = everMade; one; one = one->next) {
    if (one != address) continue;
    if (one->references <= 0) return violation(function, "the object was released before");
    if (type && one->type != type) return violation(function, typeNames[one->type]);
    return one;
  }
  return violation(function, address ? "not an object" : "NULL");
}

static void retain(Object *one) { one->references += 1; }

static void release(Object *one) {
  if (one->immortal || --one->references > 0) return;
  for (CFIndex at = 0; one->keys && at < one->length; at += 1) {
    release(one->keys[at]);
    release(one->values[at]);
  }
  EVP_PKEY_free(one->pkey);
  one->pkey = NULL;
}

static bool same(const Object *a, const Object *b) {
  if (a == b) return true;
  if (!a || !b || a->type != b->type) return false;
  if (a->type == kString || a->type == kData) return a->length == b->length && !memcmp(a->bytes, b->bytes, (size_t)a->length);
  return a->type == kNumber && a->number == b->number;
}

static Object *lookUp(const Object *dictionary, CFTypeRef key) {
  for (CFIndex at = 0; dictionary && at < dictionary->length; at += 1)
    if (same(dictionary->keys[at], key)) return dictionary->values[at];
  return NULL;
}

static bool holds(const Object *dictionary, CFTypeRef key, CFTypeRef value) { return same(lookUp(dictionary, key), value); }

static void *refuse(CFTypeRef *error, long code) {
  if (error && code) {
    Object *made = make(kError);
    made->number = code;
    *error = made;
  }
  return NULL;
}

/* Notes the call, waits when told to; true when it was told to fail. */
static bool fails(const char *function, CFTypeRef *error) {
  strncat(calls, calls[0] ? " " : "", sizeof calls - strlen(calls) - 1);
  strncat(calls, function, sizeof calls - strlen(calls) - 1);
  if (slowMs && !strcmp(failing, function)) {
    unsigned ms = slowMs;
    slowMs = 0;
    failing[0] = 0;
    pthread_mutex_unlock(&lock);
    usleep(ms * 1000);
    pthread_mutex_lock(&lock);
    return false;
  }
  if (strcmp(failing, function)) return false;
  failing[0] = 0;
  refuse(error, failingCode);
  return true;
}

/* CoreFoundation */

CFTypeRef CFStringCreateWithCString(CFTypeRef allocator, const char *text, uint32_t encoding) {
  LOCKED;
  if (allocator || !text || encoding != 0x08000100) return violation("CFStringCreateWithCString", "arguments");
  return makeBytes(kString, text, (CFIndex)strlen(text));
}

CFTypeRef CFDataCreate(CFTypeRef allocator, const uint8_t *bytes, CFIndex length) {
  LOCKED;
  if (allocator || length < 0 || (!bytes && length)) return violation("CFDataCreate", "arguments");
  return makeBytes(kData, bytes ? (const void *)bytes : "", length);
}

CFIndex CFDataGetLength(CFTypeRef data) {
  LOCKED;
  Object *one = objectAt("CFDataGetLength", data, kData);
  return one ? one->length : 0;
}

const uint8_t *CFDataGetBytePtr(CFTypeRef data) {
  LOCKED;
  Object *one = objectAt("CFDataGetBytePtr", data, kData);
  return one ? one->bytes : NULL;
}

CFTypeRef CFNumberCreate(CFTypeRef allocator, CFIndex type, const int32_t *value) {
  LOCKED;
  if (allocator || type != 3 || !value) return violation("CFNumberCreate", "arguments");
  Object *made = make(kNumber);
  made->number = *value;
  return made;
}

CFTypeRef CFDictionaryCreate(CFTypeRef allocator, CFTypeRef *keys, CFTypeRef *values, CFIndex count, const void *keyCalls, const void *valueCalls) {
  LOCKED;
  /* without these two the real dictionary would not retain what is in it */
  if (allocator || keyCalls != &kCFTypeDictionaryKeyCallBacks || valueCalls != &kCFTypeDictionaryValueCallBacks)
    return violation("CFDictionaryCreate", "arguments");
  for (CFIndex at = 0; at < count; at += 1)
    if (!objectAt("CFDictionaryCreate", keys[at], kString) || !objectAt("CFDictionaryCreate", values[at], 0)) return NULL;
  Object *made = make(kDictionary);
  made->length = count;
  made->keys = calloc((size_t)count + 1, sizeof *made->keys);
  made->values = calloc((size_t)count + 1, sizeof *made->values);
  for (CFIndex at = 0; at < count; at += 1) {
    retain(made->keys[at] = (Object *)keys[at]);
    retain(made->values[at] = (Object *)values[at]);
  }
  return made;
}

CFTypeRef CFDictionaryGetValue(CFTypeRef dictionary, CFTypeRef key) {
  LOCKED;
  Object *one = objectAt("CFDictionaryGetValue", dictionary, kDictionary);
  return one && objectAt("CFDictionaryGetValue", key, kString) ? lookUp(one, key) : NULL;
}

uint8_t CFEqual(CFTypeRef a, CFTypeRef b) {
  LOCKED;
  Object *one = objectAt("CFEqual", a, 0);
  Object *other = objectAt("CFEqual", b, 0);
  return one && other && same(one, other);
}

unsigned long CFGetTypeID(CFTypeRef object) {
  LOCKED;
  Object *one = objectAt("CFGetTypeID", object, 0);
  return one ? one->type : 0;
}

unsigned long CFDataGetTypeID(void) { return kData; }

CFIndex CFErrorGetCode(CFTypeRef error) {
  LOCKED;
  Object *one = objectAt("CFErrorGetCode", error, kError);
  return one ? one->number : 0;
}

void CFRelease(CFTypeRef object) {
  LOCKED;
  Object *one = objectAt("CFRelease", object, 0);
  if (one) release(one);
}

/* Security */

CFTypeRef SecAccessControlCreateWithFlags(CFTypeRef allocator, CFTypeRef protection, unsigned long flags, CFTypeRef *error) {
  LOCKED;
  if (fails("SecAccessControlCreateWithFlags", error)) return NULL;
  if (allocator || protection != kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly || flags != 1ul << 30) return refuse(error, errSecParam);
  return make(kAccess);
}

static Object *makeKey(EVP_PKEY *pkey, bool isPrivate) {
  Object *made = make(kKey);
  made->pkey = pkey;
  made->isPrivate = isPrivate;
  made->inEnclave = isPrivate && heedsToken;
  return made;
}

CFTypeRef SecKeyCreateRandomKey(CFTypeRef parameters, CFTypeRef *error) {
  LOCKED;
  if (fails("SecKeyCreateRandomKey", error)) return NULL;
  Object *wanted = objectAt("SecKeyCreateRandomKey", parameters, kDictionary);
  if (!wanted) return NULL;
  Object *size = lookUp(wanted, kSecAttrKeySizeInBits);
  Object *private = lookUp(wanted, kSecPrivateKeyAttrs);
  if (!holds(wanted, kSecAttrKeyType, kSecAttrKeyTypeECSECPrimeRandom) || !size || size->type != kNumber || size->number != 256 ||
      !holds(wanted, kSecAttrTokenID, kSecAttrTokenIDSecureEnclave) || !private || private->type != kDictionary)
    return refuse(error, errSecParam);
  Object *access = lookUp(private, kSecAttrAccessControl);
  if (!access || access->type != kAccess) return refuse(error, errSecParam);
  if (!hasChip) return refuse(error, errSecNotAvailable);
  bool permanent = holds(private, kSecAttrIsPermanent, kCFBooleanTrue);
  if (permanent && !isEntitled) return refuse(error, errSecMissingEntitlement);
  Object *tag = lookUp(private, kSecAttrApplicationTag);
  if (permanent && (!tag || tag->type != kData || tag->length > 64 || keychainKeys == 8)) return refuse(error, errSecParam);
  EVP_PKEY *pkey = EVP_EC_gen("P-256");
  if (permanent) {
    memcpy(keychain[keychainKeys].tag, tag->bytes, (size_t)tag->length);
    keychain[keychainKeys].length = tag->length;
    EVP_PKEY_up_ref(pkey);
    keychain[keychainKeys++].pkey = pkey;
  }
  Object *made = makeKey(pkey, true);
  made->isPermanent = permanent;
  return made;
}

OSStatus SecItemCopyMatching(CFTypeRef query, CFTypeRef *result) {
  LOCKED;
  CFTypeRef error = NULL;
  if (fails("SecItemCopyMatching", &error)) {
    if (error) release((Object *)error);
    return (OSStatus)failingCode;
  }
  Object *wanted = objectAt("SecItemCopyMatching", query, kDictionary);
  if (!wanted || !result) return errSecParam;
  Object *tag = lookUp(wanted, kSecAttrApplicationTag);
  if (!holds(wanted, kSecClass, kSecClassKey) || !holds(wanted, kSecReturnRef, kCFBooleanTrue) || !tag || tag->type != kData ||
      !holds(wanted, kSecUseDataProtectionKeychain, kCFBooleanTrue) || !holds(wanted, kSecAttrTokenID, kSecAttrTokenIDSecureEnclave))
    return errSecParam;
  if (!isEntitled) return errSecMissingEntitlement;
  for (int at = 0; at < keychainKeys; at += 1) {
    if (keychain[at].length != tag->length || memcmp(keychain[at].tag, tag->bytes, (size_t)tag->length)) continue;
    EVP_PKEY_up_ref(keychain[at].pkey);
    Object *made = makeKey(keychain[at].pkey, true);
    made->isPermanent = true;
    *result = made;
    return errSecSuccess;
  }
  return errSecItemNotFound;
}

static const char handleMark[8] = "stand-in";

/* The key wrapped for this chip: its handle, which any process on the machine can use. */
static Object *handleOf(const Object *key) {
  uint8_t *der = NULL;
  int length = i2d_PrivateKey(key->pkey, &der);
  Object *made = makeBytes(kData, "", 0);
  made->bytes = realloc(made->bytes, sizeof handleMark + (size_t)length);
  memcpy(made->bytes, handleMark, sizeof handleMark);
  for (int at = 0; at < length; at += 1) made->bytes[sizeof handleMark + (size_t)at] = der[at] ^ chipSecret;
  made->length = (CFIndex)sizeof handleMark + length;
  OPENSSL_free(der);
  return made;
}

static EVP_PKEY *unwrap(const Object *handle) {
  if (handle->length <= (CFIndex)sizeof handleMark || memcmp(handle->bytes, handleMark, sizeof handleMark)) return NULL;
  long length = handle->length - (CFIndex)sizeof handleMark;
  uint8_t *der = malloc((size_t)length);
  for (long at = 0; at < length; at += 1) der[at] = handle->bytes[sizeof handleMark + (size_t)at] ^ chipSecret;
  const uint8_t *from = der;
  EVP_PKEY *pkey = d2i_AutoPrivateKey(NULL, &from, length);
  free(der);
  return pkey;
}

CFTypeRef SecKeyCreateWithData(CFTypeRef data, CFTypeRef attributes, CFTypeRef *error) {
  LOCKED;
  if (fails("SecKeyCreateWithData", error)) return NULL;
  Object *wanted = objectAt("SecKeyCreateWithData", attributes, kDictionary);
  if (!wanted || !objectAt("SecKeyCreateWithData", data, kData)) return NULL;
  if (!holds(wanted, kSecAttrKeyType, kSecAttrKeyTypeECSECPrimeRandom) || !holds(wanted, kSecAttrKeyClass, kSecAttrKeyClassPrivate) ||
      !holds(wanted, kSecAttrTokenID, kSecAttrTokenIDSecureEnclave))
    return refuse(error, errSecParam);
  if (!hasChip) return refuse(error, errSecNotAvailable);
  Object *name = makeBytes(kString, "toid", 4);
  Object *handle = lookUp(wanted, name);
  release(name);
  /* as the real one: without a handle it silently makes another key */
  if (!handle || !heedsHandle) return makeKey(EVP_EC_gen("P-256"), true);
  EVP_PKEY *pkey = handle->type == kData ? unwrap(handle) : NULL;
  return pkey ? makeKey(pkey, true) : refuse(error, errSecParam);
}

CFTypeRef SecKeyCopyAttributes(CFTypeRef key) {
  LOCKED;
  if (fails("SecKeyCopyAttributes", NULL)) return NULL;
  Object *one = objectAt("SecKeyCopyAttributes", key, kKey);
  if (!one) return NULL;
  Object *made = make(kDictionary);
  made->keys = calloc(3, sizeof *made->keys);
  made->values = calloc(3, sizeof *made->values);
  if (one->inEnclave) {
    retain(made->keys[made->length] = (Object *)kSecAttrTokenID);
    retain(made->values[made->length++] = (Object *)kSecAttrTokenIDSecureEnclave);
  }
  if (one->isPrivate && givesHandle) {
    made->keys[made->length] = makeBytes(kString, "toid", 4);
    made->values[made->length++] = handleOf(one);
  }
  return made;
}

CFTypeRef SecKeyCopyPublicKey(CFTypeRef key) {
  LOCKED;
  if (fails("SecKeyCopyPublicKey", NULL)) return NULL;
  Object *one = objectAt("SecKeyCopyPublicKey", key, kKey);
  if (!one) return NULL;
  EVP_PKEY_up_ref(one->pkey);
  return makeKey(one->pkey, false);
}

CFTypeRef SecKeyCopyExternalRepresentation(CFTypeRef key, CFTypeRef *error) {
  LOCKED;
  if (fails("SecKeyCopyExternalRepresentation", error)) return NULL;
  Object *one = objectAt("SecKeyCopyExternalRepresentation", key, kKey);
  if (!one) return NULL;
  if (one->isPrivate) return refuse(error, errSecParam);
  uint8_t *point = NULL;
  size_t length = EVP_PKEY_get1_encoded_public_key(one->pkey, &point);
  Object *made = makeBytes(kData, point, (CFIndex)length);
  OPENSSL_free(point);
  return made;
}

CFTypeRef SecKeyCreateSignature(CFTypeRef key, CFTypeRef algorithm, CFTypeRef data, CFTypeRef *error) {
  LOCKED;
  if (fails("SecKeyCreateSignature", error)) return NULL;
  Object *one = objectAt("SecKeyCreateSignature", key, kKey);
  Object *message = objectAt("SecKeyCreateSignature", data, kData);
  if (!one || !message) return NULL;
  if (!one->isPrivate) return violation("SecKeyCreateSignature", "not a private key");
  if (algorithm != kSecKeyAlgorithmECDSASignatureMessageX962SHA256) return refuse(error, errSecParam);
  uint8_t digest[32], signature[128];
  const uint8_t *from = message->bytes;
  size_t size = (size_t)message->length, length = sizeof signature;
  if (hashesTwice) {
    SHA256(from, size, digest);
    from = digest;
    size = sizeof digest;
  }
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool done = EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, one->pkey) == 1 && EVP_DigestSign(context, signature, &length, from, size) == 1;
  EVP_MD_CTX_free(context);
  return done ? makeBytes(kData, signature, (CFIndex)length) : refuse(error, errSecParam);
}

/* What the tests set and read. */

/* Objects that were made and not released. */
long standin_live_objects(void) {
  LOCKED;
  long live = 0;
  for (Object *one = everMade; one; one = one->next) live += !one->immortal && one->references > 0;
  return live;
}

long standin_violations(void) { return violations; }
const char *standin_last_violation(void) { return lastViolation; }

/* Names of the Security calls since the last reset, in order. */
const char *standin_calls(void) { return calls; }

/* The next call of `function` fails with `code`; 0: it gives nothing, and no error. */
void standin_fail_next(const char *function, long code) {
  LOCKED;
  snprintf(failing, sizeof failing, "%s", function);
  failingCode = code;
}

/* The next call of `function` takes so long. */
void standin_slow_next(const char *function, unsigned ms) {
  LOCKED;
  snprintf(failing, sizeof failing, "%s", function);
  slowMs = ms;
}

void standin_set_chip(bool is) { hasChip = is; }
void standin_set_entitled(bool is) { isEntitled = is; }
/* Whether a key's attributes name its handle. */
void standin_toid(bool is) { givesHandle = is; }
/* Whether a key is made again from its handle, or silently another one. */
void standin_heed_toid(bool is) { heedsHandle = is; }
/* Whether keys are made in the chip, as was asked. */
void standin_heed_token(bool is) { heedsToken = is; }
void standin_hash_twice(bool is) { hashesTwice = is; }
/* What an earlier chip has wrapped is of no use from now on. */
void standin_change_chip(void) { chipSecret += 1; }

/* Everything as at the start, but for objects that live. */
void standin_reset(void) {
  LOCKED;
  hasChip = isEntitled = givesHandle = heedsHandle = heedsToken = true;
  hashesTwice = false;
  violations = 0;
  lastViolation[0] = calls[0] = failing[0] = 0;
  slowMs = 0;
  while (keychainKeys > 0) EVP_PKEY_free(keychain[--keychainKeys].pkey);
}

static Object *immortal(Object *one) {
  one->immortal = true;
  return one;
}

__attribute__((constructor)) static void setUp(void) {
#define DEFINE(name, text) name = immortal(makeBytes(kString, text, (CFIndex)strlen(text)));
  CONSTANTS(DEFINE)
  kCFBooleanTrue = immortal(make(kBoolean));
  kCFBooleanFalse = immortal(make(kBoolean));
}
