/* Read and write .npy files: arrays of numbers, C-ordered and little-endian, as a golden bundle has them.

   A file is "\x93NUMPY", two bytes of version, the length of the header (2 bytes, from version 2 on 4), the header, a
   Python dict such as {'descr': '<f8', 'fortran_order': False, 'shape': (5, 1, 8, 8), }, and the numbers. Types here:
   <f8, <f4, <i8 (labels) and |u1 (pixels). All become `real`: double, or float with -DREAL=float. The machine must be
   little-endian, too. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifndef REAL
#define REAL double
#endif
typedef REAL real;
typedef struct { int ndim; long shape[8], size; real *data; } Array;

static inline void fail(const char *path, const char *message) {
    fprintf(stderr, "%s: %s\n", path, message);
    exit(1);
}

static inline Array npy_read(const char *folder, const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    FILE *file = fopen(path, "rb");
    unsigned char start[12];
    if (!file || fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY", 6)) fail(path, "is no .npy file");
    size_t length = start[8] | start[9] << 8;
    if (start[6] > 1) {
        if (fread(start + 10, 1, 2, file) != 2) fail(path, "ends early");
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    char *header = calloc(length + 1, 1), *at;
    if (fread(header, 1, length, file) != length) fail(path, "ends early");
    if (!strstr(header, "'fortran_order': False")) fail(path, "is not C-ordered");
    Array array = {.size = 1};
    if (!(at = strstr(header, "'shape': ("))) fail(path, "has no shape");
    for (at += 10; *at >= '0' && *at <= '9' && array.ndim < 8; at += strspn(at, ", "))
        array.size *= array.shape[array.ndim++] = strtol(at, &at, 10);
    array.data = malloc((array.size ? array.size : 1) * sizeof *array.data);
    char type[4] = "";
    if ((at = strstr(header, "'descr': '"))) memcpy(type, at + 10, 3);
    for (long i = 0; i < array.size; i++) {
        union { double f8; float f4; int64_t i8; unsigned char u1; } number;
        size_t bytes = type[2] == '8' ? 8 : type[2] == '4' ? 4 : 1;
        if (fread(&number, bytes, 1, file) != 1) fail(path, "ends early");
        if (!strcmp(type, "<f8")) array.data[i] = number.f8;
        else if (!strcmp(type, "<f4")) array.data[i] = number.f4;
        else if (!strcmp(type, "<i8")) array.data[i] = number.i8;
        else if (!strcmp(type, "|u1")) array.data[i] = number.u1;
        else fail(path, "has another type than <f8, <f4, <i8, |u1");
    }
    free(header);
    fclose(file);
    return array;
}

/* Write FOLDER/NAME.npy, and the folders in between: names have slashes, as train/activations/conv1. */
static inline void npy_write(const char *folder, const char *name, const real *data, int ndim, const long *shape) {
    char path[4096], dict[256];
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    for (char *slash = path + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        mkdir(path, 0777);
    }
    int length = snprintf(dict, 256, "{'descr': '<f%d', 'fortran_order': False, 'shape': (", (int)sizeof(real));
    long size = 1;
    for (int i = 0; i < ndim; size *= shape[i++]) length += snprintf(dict + length, 256 - length, "%ld,", shape[i]);
    snprintf(dict + length, 256 - length, "), }");
    FILE *file = fopen(path, "wb");
    /* 10 bytes and 117 of the header and its newline are 128, so the numbers are aligned. */
    if (!file || fwrite("\x93NUMPY\1\0\x76\0", 1, 10, file) != 10 || fprintf(file, "%-117s\n", dict) != 118 ||
        fwrite(data, sizeof *data, size, file) != (size_t)size || fclose(file)) fail(path, "cannot be written");
}
