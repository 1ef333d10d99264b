/* A stand-in for NVIDIA's libnvidia-ml.so.1: does what the text file named by FAKE_NVML_STATE says.
 *
 *   driver gone                              every call fails, as after rmmod; afterwards nvmlInit is needed again
 *   sleep MILLISECONDS                       nvmlDeviceGetMemoryInfo takes so long
 *   drift BYTES                              each reading of memory finds so much more used, a hundred times
 *   card TOTAL USED CELSIUS MILLIWATTS PERCENT NAME...
 *   uuid CARD UUID                           else it is GPU-fake-CARD
 *   mig CARD                                 the card is in MIG mode
 *   instance CARD SLOT TOTAL USED NAME...    one of its instances
 *   process CARD compute|graphics PID BYTES SLOT     BYTES -1: not available; SLOT -1: on the card itself
 *   error FUNCTION CARD CODE                 CARD -1: on every card
 *   calls FILE                               every function that is called is written there, a line each
 *
 * Without the variable or the file it is a library whose driver is not loaded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define MAX_CARDS 16
#define MAX_ITEMS 256
#define MAX_SLOTS 7

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    SMALL = 7,
    NOT_LOADED = 9,
    UNKNOWN = 999
};

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } rates_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;

static struct { unsigned long long total, used; int celsius, milliwatts, percent, mig; char name[96], uuid[64]; } cards[MAX_CARDS];
static struct { unsigned long long total, used; char name[96]; } instances[MAX_CARDS][MAX_SLOTS];
static struct { int card, slot; char kind; unsigned pid; long long bytes; } processes[MAX_ITEMS];
static struct { char function[64]; int card, code; } errors[MAX_ITEMS];
static int card_count, process_count, error_count, driver_gone, sleep_ms, initialised;
static unsigned long long drift, readings;
static struct stat seen;
static char calls[512];

static void read_state(void) {
    const char *path = getenv("FAKE_NVML_STATE");
    struct stat now;
    FILE *file;
    char line[600], word[64];
    int card, slot, length;

    if (!path || stat(path, &now)) {
        driver_gone = 1;
        memset(&seen, 0, sizeof seen);
        return;
    }
    if (now.st_ino == seen.st_ino && now.st_size == seen.st_size && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return;
    if (!(file = fopen(path, "r"))) return;
    seen = now;
    card_count = process_count = error_count = driver_gone = sleep_ms = 0;
    drift = 0;
    calls[0] = 0;
    memset(cards, 0, sizeof cards);
    memset(instances, 0, sizeof instances);
    while (fgets(line, sizeof line, file)) {
        sscanf(line, "sleep %d", &sleep_ms);
        sscanf(line, "drift %llu", &drift);
        sscanf(line, "calls %511[^\n]", calls);
        if (!strncmp(line, "driver gone", 11)) driver_gone = 1;
        if (card_count < MAX_CARDS &&
            sscanf(line, "card %llu %llu %d %d %d %95[^\n]", &cards[card_count].total, &cards[card_count].used,
                   &cards[card_count].celsius, &cards[card_count].milliwatts, &cards[card_count].percent,
                   cards[card_count].name) == 6)
            card_count++;
        if (sscanf(line, "uuid %d %63s", &card, word) == 2) strcpy(cards[card].uuid, word);
        if (sscanf(line, "mig %d", &card) == 1) cards[card].mig = 1;
        if (sscanf(line, "instance %d %d %n", &card, &slot, &length) == 2)
            sscanf(line + length, "%llu %llu %95[^\n]", &instances[card][slot].total, &instances[card][slot].used,
                   instances[card][slot].name);
        if (process_count < MAX_ITEMS &&
            sscanf(line, "process %d %63s %u %lld %d", &processes[process_count].card, word,
                   &processes[process_count].pid, &processes[process_count].bytes, &processes[process_count].slot) == 5)
            processes[process_count++].kind = word[0];
        if (error_count < MAX_ITEMS && sscanf(line, "error %63s %d %d", errors[error_count].function,
                                              &errors[error_count].card, &errors[error_count].code) == 3)
            error_count++;
    }
    fclose(file);
}

static void note_call(const char *function) {
    FILE *file;
    if (!calls[0] || !(file = fopen(calls, "a"))) return;
    fprintf(file, "%s\n", function);
    fclose(file);
}

static int begin(const char *function, int card) {
    int i;
    read_state();
    note_call(function);
    if (driver_gone) {
        initialised = 0;
        return UNKNOWN;
    }
    if (!initialised) return UNINITIALIZED;
    if (card >= card_count) return INVALID;
    for (i = 0; i < error_count; i++)
        if (!strcmp(errors[i].function, function) && (errors[i].card == -1 || errors[i].card == card))
            return errors[i].code;
    return SUCCESS;
}

/* A handle is the card's number and 1; of an instance 100 times its slot's number and 1 besides. */
static int card_of(void *handle) { return (int)((size_t)handle % 100) - 1; }
static int slot_of(void *handle) { return (int)((size_t)handle / 100) - 1; }

static int begin_device(const char *function, void *handle, int of_instances) {
    int code = begin(function, card_of(handle)), slot = slot_of(handle);
    if (code != SUCCESS || slot < 0) return code;
    if (!cards[card_of(handle)].mig || !instances[card_of(handle)][slot].total) return INVALID;
    return of_instances ? SUCCESS : NOT_SUPPORTED;
}

#define BEGIN(card)                          \
    do {                                     \
        int code = begin(__func__, card);    \
        if (code != SUCCESS) return code;    \
    } while (0)

#define BEGIN_DEVICE(handle, of_instances)                          \
    do {                                                            \
        int code = begin_device(__func__, handle, of_instances);    \
        if (code != SUCCESS) return code;                           \
    } while (0)

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    read_state();
    if (driver_gone) return NOT_LOADED;
    initialised = 1;
    BEGIN(-1);
    return SUCCESS;
}

int nvmlShutdown(void) {
    BEGIN(-1);
    initialised = 0;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    (void)code;
    return "an error of the fake driver";
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    BEGIN(-1);
    *count = (unsigned)card_count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    BEGIN((int)index);
    *handle = (void *)(size_t)(index + 1);
    return SUCCESS;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    BEGIN_DEVICE(handle, 1);
    if (slot_of(handle) < 0)
        snprintf(name, length, "%s", cards[card_of(handle)].name);
    else
        snprintf(name, length, "%s", instances[card_of(handle)][slot_of(handle)].name);
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    BEGIN_DEVICE(handle, 1);
    if (slot_of(handle) >= 0)
        snprintf(uuid, length, "MIG-fake-%d-%d", card_of(handle), slot_of(handle));
    else if (cards[card_of(handle)].uuid[0])
        snprintf(uuid, length, "%s", cards[card_of(handle)].uuid);
    else
        snprintf(uuid, length, "GPU-fake-%d", card_of(handle));
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    BEGIN_DEVICE(handle, 1);
    if (sleep_ms) {
        struct timespec pause = {sleep_ms / 1000, (sleep_ms % 1000) * 1000000L};
        nanosleep(&pause, NULL);
    }
    if (slot_of(handle) < 0) {
        memory->total = cards[card_of(handle)].total;
        memory->used = cards[card_of(handle)].used;
    } else {
        memory->total = instances[card_of(handle)][slot_of(handle)].total;
        memory->used = instances[card_of(handle)][slot_of(handle)].used;
    }
    memory->used += drift * (readings++ % 100);
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *handle, rates_t *rates) {
    BEGIN_DEVICE(handle, 0);
    if (cards[card_of(handle)].mig) return NOT_SUPPORTED;
    rates->gpu = (unsigned)cards[card_of(handle)].percent;
    rates->memory = 0;
    return SUCCESS;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) {
    (void)sensor;
    BEGIN_DEVICE(handle, 0);
    *celsius = (unsigned)cards[card_of(handle)].celsius;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    BEGIN_DEVICE(handle, 0);
    *milliwatts = (unsigned)cards[card_of(handle)].milliwatts;
    return SUCCESS;
}

static int list(void *handle, char kind, unsigned *count, process_t *found) {
    unsigned room = *count, number = 0;
    int i;
    for (i = 0; i < process_count; i++) {
        if (processes[i].card != card_of(handle) || processes[i].slot != slot_of(handle) || processes[i].kind != kind)
            continue;
        if (found && number < room) {
            found[number].pid = processes[i].pid;
            found[number].used = (unsigned long long)processes[i].bytes;
            found[number].gpu_instance = found[number].compute_instance = 0xFFFFFFFFu;
        }
        number++;
    }
    *count = number;
    return number > room ? SMALL : SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process_t *found) {
    BEGIN_DEVICE(handle, 1);
    return list(handle, 'c', count, found);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(void *handle, unsigned *count, process_t *found) {
    BEGIN_DEVICE(handle, 0);
    return list(handle, 'g', count, found);
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    BEGIN_DEVICE(handle, 0);
    if (!cards[card_of(handle)].mig) return NOT_SUPPORTED;
    *current = *pending = 1;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) {
    BEGIN_DEVICE(handle, 0);
    *count = MAX_SLOTS;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned slot, void **found) {
    BEGIN_DEVICE(handle, 0);
    if (!instances[card_of(handle)][slot].total) return NOT_FOUND;
    *found = (void *)((size_t)handle + 100 * (slot + 1));
    return SUCCESS;
}
