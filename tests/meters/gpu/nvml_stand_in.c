/* A stand-in for libnvidia-ml: the C interface (NVML API reference) of a machine with two cards, the second of which is
 * cut into two MIG instances. It lacks nvmlDeviceGetTemperatureV and the clocks event reasons, as an old driver does. */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SMALL = 7, LOST = 15 };
typedef struct { int card; int instance; } Device;
static Device devices[] = {{0, -1}, {1, -1}, {1, 0}, {1, 2}};
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned field, scope; long long stamp, latency; int type, result; union { double d; unsigned long long u; } value; } Field;

static int say(char *out, unsigned length, const char *text) {
  if (strlen(text) >= length) return SMALL;
  strcpy(out, text);
  return SUCCESS;
}
int nvmlInitWithFlags(unsigned flags) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int result) { return result == LOST ? "GPU is lost" : "refused"; }
int nvmlSystemGetDriverVersion(char *out, unsigned length) { return say(out, length, "535.99"); }
int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned length) { return say(out, length, pid == 4242 ? "/usr/bin/trainer" : ""); }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
  if (index > 1) return INVALID;
  *device = &devices[index];
  return SUCCESS;
}
int nvmlDeviceGetName(Device *device, char *out, unsigned length) { return say(out, length, device->instance < 0 ? "Stand-in A100" : "Stand-in A100 MIG 3g.40gb"); }
int nvmlDeviceGetUUID(Device *device, char *out, unsigned length) {
  static const char *uuids[] = {"GPU-0000", "GPU-1111", "MIG-aaaa", "MIG-bbbb"};
  return say(out, length, uuids[device - devices]);
}
int nvmlDeviceGetMigMode(Device *device, unsigned *now, unsigned *next) { *now = *next = device->card == 1; return SUCCESS; }
int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned *count) { *count = 7; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **instance) {
  if (index != 0 && index != 2) return NOT_FOUND;
  *instance = &devices[index == 0 ? 2 : 3];
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
  memory->total = device->instance < 0 ? 80000000000ULL : 40000000000ULL;
  memory->used = 5000000000ULL;
  memory->free = memory->total - memory->used;
  return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(Device *device, Utilization *rates) {
  if (device->instance >= 0) return NOT_SUPPORTED;
  rates->gpu = 87;
  return SUCCESS;
}
int nvmlDeviceGetClockInfo(Device *device, int type, unsigned *mhz) { *mhz = type == 1 ? 1410 : 1593; return SUCCESS; }
int nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned *mw) { *mw = 400000; return SUCCESS; }
int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *bits) { *bits = 0x24; return SUCCESS; }
int nvmlDeviceGetArchitecture(Device *device, unsigned *architecture) { *architecture = 7; return SUCCESS; }
int nvmlDeviceGetC2cModeInfoV(Device *device, unsigned *info) { return NOT_SUPPORTED; }
int nvmlDeviceGetTotalEnergyConsumption(Device *device, unsigned long long *mj) {
  if (getenv("STAND_IN_LOST")) return LOST;
  *mj = 123456789ULL + device->card;
  return SUCCESS;
}
int nvmlDeviceGetFieldValues(Device *device, int count, Field *fields) {
  for (int i = 0; i < count; i++) {
    fields[i].result = SUCCESS;
    fields[i].value.u = 251000 + device->card;
  }
  return SUCCESS;
}
int nvmlDeviceGetTemperature(Device *device, int sensor, unsigned *celsius) { *celsius = 61; return SUCCESS; }
static int list(Process *all, unsigned have, unsigned *count, Process *out) {
  unsigned room = *count;
  *count = have;
  if (have == 0) return SUCCESS;
  if (room < have) return SMALL;
  memcpy(out, all, have * sizeof *all);
  return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *out) {
  Process two[] = {{4242, 2000000000ULL, ~0u, ~0u}, {77, ~0ULL, ~0u, ~0u}};
  return list(two, device->card == 0 ? 2 : 0, count, out);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *device, unsigned *count, Process *out) {
  Process two[] = {{4242, 1ULL, ~0u, ~0u}, {900, 30000000ULL, ~0u, ~0u}};
  return list(two, device->card == 0 ? 2 : 0, count, out);
}
