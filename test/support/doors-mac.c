/* The calls of macOS's C library that hardening makes, and what they were given. */
#include <stdint.h>
#include <string.h>
#include <stddef.h>

static int denied, results[4], last_resource = -1;
static uint32_t flags;
static uint8_t limits[16];

void standin_reset(uint32_t signing, int ptrace_result, int csops_result) {
  memset(limits, 1, sizeof limits);
  flags = signing;
  results[0] = ptrace_result;
  results[1] = csops_result;
  denied = 0;
  last_resource = -1;
}
int standin_denied(void) { return denied; }
int standin_resource(void) { return last_resource; }

int ptrace(int request, int process, void *address, int data) {
  denied = request == 31 && process == 0 && address == NULL && data == 0;
  return results[0];
}
int csops(int process, unsigned int operation, void *out, size_t size) {
  if (process <= 0 || operation != 0 || size != 4) return -1;
  memcpy(out, &flags, 4);
  return results[1];
}
int setrlimit(int resource, const uint8_t *given) {
  last_resource = resource;
  memcpy(limits, given, sizeof limits);
  return 0;
}
int getrlimit(int resource, uint8_t *out) {
  if (resource != 4) return -1;
  memcpy(out, limits, sizeof limits);
  return 0;
}
int fcntl(int descriptor, int command, ...) { return descriptor + command < 0 ? -1 : 0; }
int execve(const char *file, const char **words, const char **environment) {
  return file != NULL && words != NULL && environment != NULL ? -1 : 0;
}
