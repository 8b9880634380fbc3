/* A port of tiny-bn to C: every tensor of a golden bundle, forward and backward, and the steps of its training.

     gcc -std=c11 -O2 golden_tiny_bn.c -lm -o golden_tiny_bn
     glassnet golden write tiny-bn bundle
     ./golden_tiny_bn bundle dump && glassnet golden check bundle dump

   Loops as in a textbook: the numbers matter here, not the time. Arrays are (N, C, H, W). The gradient of the loss with
   respect to an array y is dy. Everything is double, or float with -DREAL=float. */
#include <math.h>
#include "golden_npy.h"

enum {
    CONV1, BN1, RELU, B_CONV1, B_BN1, B_RELU1, B_CONV2, B_BN2, SHORTCUT, SUM, B_RELU, BLOCK, POOL, FLATTEN, FC, ALL
};
static const char *NAMES[ALL] = {
    "conv1", "bn1", "relu", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu1", "layer1.0.conv2", "layer1.0.bn2",
    "layer1.0.shortcut", "layer1.0.sum", "layer1.0.relu", "layer1.0", "pool", "flatten", "fc",
};
typedef struct { const char *key; real *w, *g, *v; Array array; } Parameter; /* v: momentum */
static Parameter parameters[] = {
    {"conv1.weight"}, {"bn1.weight"}, {"bn1.bias"}, {"layer1.0.conv1.weight"}, {"layer1.0.bn1.weight"},
    {"layer1.0.bn1.bias"}, {"layer1.0.conv2.weight"}, {"layer1.0.bn2.weight"}, {"layer1.0.bn2.bias"}, {"fc.weight"},
    {"fc.bias"},
};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };
static Array running[6]; /* mean and variance of each BatchNorm */
static const char *RUNNING[6] = {
    "bn1.running_mean", "bn1.running_var", "layer1.0.bn1.running_mean", "layer1.0.bn1.running_var",
    "layer1.0.bn2.running_mean", "layer1.0.bn2.running_var",
};
static Array images, labels;
static int N, F, H, W, K; /* images, channels, height, width, classes */
static real *y[ALL], *dy[ALL];
static double smoothing;

static real *zeros(long size) { return calloc(size, sizeof(real)); }

/* y[n,o,i,j] = sum over c, u, v of w[o,c,u,v] * x[n, c, i + u - 1, j + v - 1], with x = 0 outside: padding 1. */
static void conv(const real *x, int C, const real *w, real *out) {
    for (int n = 0; n < N; n++) for (int o = 0; o < F; o++) for (int i = 0; i < H; i++) for (int j = 0; j < W; j++) {
        real sum = 0;
        for (int c = 0; c < C; c++) for (int u = 0; u < 3; u++) for (int v = 0; v < 3; v++) {
            int row = i + u - 1, column = j + v - 1;
            if (row < 0 || row >= H || column < 0 || column >= W) continue;
            sum += w[((o * C + c) * 3 + u) * 3 + v] * x[((n * C + c) * H + row) * W + column];
        }
        out[((n * F + o) * H + i) * W + j] = sum;
    }
}

/* Every product of the forward pass hands dout back to its two factors; dx is NULL for the images. */
static void conv_backward(const real *dout, const real *x, int C, const real *w, real *dw, real *dx) {
    for (int n = 0; n < N; n++) for (int o = 0; o < F; o++) for (int i = 0; i < H; i++) for (int j = 0; j < W; j++)
        for (int c = 0; c < C; c++) for (int u = 0; u < 3; u++) for (int v = 0; v < 3; v++) {
            int row = i + u - 1, column = j + v - 1;
            if (row < 0 || row >= H || column < 0 || column >= W) continue;
            real d = dout[((n * F + o) * H + i) * W + j];
            long at_w = ((o * C + c) * 3 + u) * 3 + v, at_x = ((n * C + c) * H + row) * W + column;
            dw[at_w] += d * x[at_x];
            if (dx) dx[at_x] += d * w[at_w];
        }
}

#define EPS 1e-5
#define EACH_OF_CHANNEL(c) for (int n = 0; n < N; n++) for (long at = (n * F + c) * H * W, p = 0; p < H * W; p++, at++)

/* Normalize each channel by the batch's mean and biased variance, or in evaluation mode by the running ones. */
static void batch_norm(const real *x, int layer, real *out, int training) {
    const real *gamma = parameters[1 + 3 * layer].w, *beta = parameters[2 + 3 * layer].w;
    real *running_mean = running[2 * layer].data, *running_var = running[2 * layer + 1].data, M = N * H * W;
    for (int c = 0; c < F; c++) {
        real mean = running_mean[c], variance = running_var[c];
        if (training) {
            mean = variance = 0;
            EACH_OF_CHANNEL(c) mean += x[at] / M;
            EACH_OF_CHANNEL(c) variance += (x[at] - mean) * (x[at] - mean) / M;
            running_mean[c] = 0.9 * running_mean[c] + 0.1 * mean;
            running_var[c] = 0.9 * running_var[c] + 0.1 * variance * M / (M - 1);
        }
        EACH_OF_CHANNEL(c) out[at] = gamma[c] * (x[at] - mean) / sqrt(variance + EPS) + beta[c];
    }
}

/* dx = gamma / sqrt(var + eps) * (dy - mean(dy) - x_hat * mean(dy * x_hat)), of the training mode. */
static void batch_norm_backward(const real *dout, const real *x, int layer, real *dx) {
    real *gamma = parameters[1 + 3 * layer].w, M = N * H * W;
    real *dgamma = parameters[1 + 3 * layer].g, *dbeta = parameters[2 + 3 * layer].g;
    for (int c = 0; c < F; c++) {
        real mean = 0, variance = 0;
        EACH_OF_CHANNEL(c) mean += x[at] / M;
        EACH_OF_CHANNEL(c) variance += (x[at] - mean) * (x[at] - mean) / M;
        real scale = 1 / sqrt(variance + EPS);
        EACH_OF_CHANNEL(c) {
            dgamma[c] += dout[at] * (x[at] - mean) * scale;
            dbeta[c] += dout[at];
        }
        EACH_OF_CHANNEL(c) {
            real x_hat = (x[at] - mean) * scale;
            dx[at] = gamma[c] * scale * (dout[at] - dbeta[c] / M - x_hat * dgamma[c] / M);
        }
    }
}

static void relu(const real *x, real *out, long size) {
    for (long i = 0; i < size; i++) out[i] = x[i] > 0 ? x[i] : 0;
}

static void relu_backward(const real *dout, const real *x, real *dx, long size) {
    for (long i = 0; i < size; i++) dx[i] = x[i] > 0 ? dout[i] : 0;
}

/* The largest of each 2x2 pixels; dout goes to the first of them. Without dout forward, with dout backward. */
static void max_pool(const real *x, real *out, const real *dout, real *dx) {
    for (int p = 0; p < N * F; p++) for (int i = 0; i < H / 2; i++) for (int j = 0; j < W / 2; j++) {
        long winner = (p * H + 2 * i) * W + 2 * j, corner = winner, to = (p * (H / 2) + i) * (W / 2) + j;
        for (int u = 0; u < 2; u++) for (int v = 0; v < 2; v++)
            if (x[corner + u * W + v] > x[winner]) winner = corner + u * W + v;
        if (dout) dx[winner] += dout[to];
        else out[to] = x[winner];
    }
}

/* The mean cross-entropy of the logits with smoothed labels; dz = (softmax(z) - q) / N. */
static real loss_of(const real *logits, real *dlogits) {
    real loss = 0;
    for (int n = 0; n < N; n++) {
        const real *z = logits + n * K;
        real largest = z[0], sum = 0;
        for (int k = 1; k < K; k++) if (z[k] > largest) largest = z[k];
        for (int k = 0; k < K; k++) sum += exp(z[k] - largest);
        for (int k = 0; k < K; k++) {
            real q = smoothing / K + (k == (int)labels.data[n] ? 1 - smoothing : 0);
            real log_probability = z[k] - largest - log(sum);
            loss -= q * log_probability / N;
            dlogits[n * K + k] = (exp(log_probability) - q) / N;
        }
    }
    return loss;
}

static long size_of(int tensor) {
    return tensor == FC ? N * K : tensor == POOL || tensor == FLATTEN ? N * F * (H / 2) * (W / 2) : N * F * H * W;
}

static void copy(real *to, const real *from, int tensor) { memcpy(to, from, size_of(tensor) * sizeof(real)); }

static void forward(int training) {
    const real *w = parameters[9].w, *b = parameters[10].w;
    conv(images.data, images.shape[1], parameters[0].w, y[CONV1]);
    batch_norm(y[CONV1], 0, y[BN1], training);
    relu(y[BN1], y[RELU], size_of(RELU));
    conv(y[RELU], F, parameters[3].w, y[B_CONV1]);
    batch_norm(y[B_CONV1], 1, y[B_BN1], training);
    relu(y[B_BN1], y[B_RELU1], size_of(B_RELU1));
    conv(y[B_RELU1], F, parameters[6].w, y[B_CONV2]);
    batch_norm(y[B_CONV2], 2, y[B_BN2], training);
    copy(y[SHORTCUT], y[RELU], SHORTCUT);
    for (long i = 0; i < size_of(SUM); i++) y[SUM][i] = y[SHORTCUT][i] + y[B_BN2][i];
    relu(y[SUM], y[B_RELU], size_of(B_RELU));
    copy(y[BLOCK], y[B_RELU], BLOCK);
    max_pool(y[BLOCK], y[POOL], NULL, NULL);
    copy(y[FLATTEN], y[POOL], FLATTEN); /* (C, H, W) in that order: nothing moves */
    long features = size_of(FLATTEN) / N;
    for (int n = 0; n < N; n++) for (int k = 0; k < K; k++) {
        real sum = b[k];
        for (long f = 0; f < features; f++) sum += w[k * features + f] * y[FLATTEN][n * features + f];
        y[FC][n * K + k] = sum;
    }
}

/* From dy[FC] to all other gradients. */
static void backward(void) {
    const real *w = parameters[9].w;
    real *dw = parameters[9].g, *db = parameters[10].g;
    for (int p = 0; p < PARAMETERS; p++) memset(parameters[p].g, 0, parameters[p].array.size * sizeof(real));
    for (int t = 0; t < FC; t++) memset(dy[t], 0, size_of(t) * sizeof(real));
    long features = size_of(FLATTEN) / N;
    for (int n = 0; n < N; n++) for (int k = 0; k < K; k++) {
        real d = dy[FC][n * K + k];
        db[k] += d;
        for (long f = 0; f < features; f++) {
            dw[k * features + f] += d * y[FLATTEN][n * features + f];
            dy[FLATTEN][n * features + f] += d * w[k * features + f];
        }
    }
    copy(dy[POOL], dy[FLATTEN], POOL);
    max_pool(y[BLOCK], NULL, dy[POOL], dy[BLOCK]);
    copy(dy[B_RELU], dy[BLOCK], B_RELU);
    relu_backward(dy[B_RELU], y[SUM], dy[SUM], size_of(SUM));
    copy(dy[SHORTCUT], dy[SUM], SHORTCUT);
    copy(dy[B_BN2], dy[SUM], B_BN2);
    batch_norm_backward(dy[B_BN2], y[B_CONV2], 2, dy[B_CONV2]);
    conv_backward(dy[B_CONV2], y[B_RELU1], F, parameters[6].w, parameters[6].g, dy[B_RELU1]);
    relu_backward(dy[B_RELU1], y[B_BN1], dy[B_BN1], size_of(B_BN1));
    batch_norm_backward(dy[B_BN1], y[B_CONV1], 1, dy[B_CONV1]);
    conv_backward(dy[B_CONV1], y[RELU], F, parameters[3].w, parameters[3].g, dy[RELU]);
    for (long i = 0; i < size_of(RELU); i++) dy[RELU][i] += dy[SHORTCUT][i];
    relu_backward(dy[RELU], y[BN1], dy[BN1], size_of(BN1));
    batch_norm_backward(dy[BN1], y[CONV1], 0, dy[CONV1]);
    conv_backward(dy[CONV1], images.data, images.shape[1], parameters[0].w, parameters[0].g, NULL);
}

/* SGD as torch.optim has it: g += decay * w, v = momentum * v + g (at first g), w -= lr * v (Nesterov: g + momentum * v). */
static void update(int step, double lr, double momentum, int nesterov, double decay, int decays_all) {
    for (int p = 0; p < PARAMETERS; p++) {
        Parameter *of = &parameters[p];
        double own = decays_all || of->array.ndim > 1 ? decay : 0; /* else not on BatchNorm and biases */
        for (long i = 0; i < of->array.size; i++) {
            real g = of->g[i] + own * of->w[i];
            of->v[i] = step == 1 ? g : momentum * of->v[i] + g;
            of->w[i] -= lr * (nesterov ? g + momentum * of->v[i] : of->v[i]);
        }
    }
}

/* Writing. */
static const char *dump;

static void write_group(const char *group, real **tensors) {
    for (int t = 0; t < ALL; t++) {
        char name[256];
        snprintf(name, sizeof name, "%s/%s", group, NAMES[t]);
        int pooled = t == POOL;
        long shape[4] = {N, t == FC ? K : t == FLATTEN ? size_of(t) / N : F, H >> pooled, W >> pooled};
        npy_write(dump, name, tensors[t], t == FC || t == FLATTEN ? 2 : 4, shape);
    }
}

static void write_parameters(const char *group, int what) { /* 0: values, 1: gradients, 2: momentum */
    for (int p = 0; p < PARAMETERS; p++) {
        Parameter *of = &parameters[p];
        char name[256];
        snprintf(name, sizeof name, "%s/%s", group, of->key);
        npy_write(dump, name, what == 0 ? of->w : what == 1 ? of->g : of->v, of->array.ndim, of->array.shape);
    }
}

static void write_running(const char *group) {
    for (int b = 0; b < 6; b++) {
        char name[256];
        snprintf(name, sizeof name, "%s/%s", group, RUNNING[b]);
        npy_write(dump, name, running[b].data, 1, running[b].shape);
    }
}

/* Return where the value of a key begins in a JSON text, after the first occurrence of "section". */
static const char *value_of(const char *json, const char *section, const char *key) {
    const char *at = strstr(json, section);
    if (at) at = strstr(at, key);
    if (!at) fail("manifest.json", key);
    return at + strlen(key) + strspn(at + strlen(key), ": [\n");
}

static void load(const char *bundle) {
    images = npy_read(bundle, "inputs/images");
    labels = npy_read(bundle, "inputs/labels");
    for (int p = 0; p < PARAMETERS; p++) {
        char name[256];
        snprintf(name, sizeof name, "inputs/state/%s", parameters[p].key);
        Array array = parameters[p].array = npy_read(bundle, name);
        parameters[p].w = array.data;
        parameters[p].g = zeros(array.size);
        parameters[p].v = zeros(array.size);
    }
    for (int b = 0; b < 6; b++) {
        char name[256];
        snprintf(name, sizeof name, "inputs/state/%s", RUNNING[b]);
        running[b] = npy_read(bundle, name);
    }
    N = images.shape[0], H = images.shape[2], W = images.shape[3];
    F = parameters[0].array.shape[0], K = parameters[9].array.shape[0];
    for (int t = 0; t < ALL; t++) y[t] = zeros(size_of(t)), dy[t] = zeros(size_of(t));
}

int main(int count, char **arguments) {
    if (count != 3) fail(arguments[0], "needs BUNDLE and DUMP");
    char path[4096], group[64];
    static char json[1 << 22];
    snprintf(path, sizeof path, "%s/manifest.json", arguments[1]);
    FILE *file = fopen(path, "rb");
    if (!file || !fread(json, 1, sizeof json - 1, file)) fail(path, "cannot be read");
    fclose(file);
    load(arguments[1]);
    dump = arguments[2];

    forward(0);
    write_group("eval/activations", y);

    const char *rates = value_of(json, "", "\"learning_rates\"");
    int steps = strtol(value_of(json, "", "\"steps\""), NULL, 10);
    double momentum = strtod(value_of(json, "\"recipe\"", "\"momentum\""), NULL);
    double decay = strtod(value_of(json, "\"recipe\"", "\"weight_decay\""), NULL);
    int nesterov = *value_of(json, "\"recipe\"", "\"nesterov\"") == 't';
    int decays_all = !strncmp(value_of(json, "\"recipe\"", "\"weight_decay_scope\""), "\"all", 4);
    smoothing = strtod(value_of(json, "\"recipe\"", "\"label_smoothing\""), NULL);
    for (int step = 1; step == 1 || step <= steps; step++) {
        forward(1);
        long scalar[1] = {0};
        real loss = loss_of(y[FC], dy[FC]);
        backward();
        if (step == 1) { /* the training pass is that of the first step */
            npy_write(dump, "train/loss", &loss, 0, scalar);
            write_group("train/activations", y);
            write_running("train/buffers");
            write_group("train/activation_gradients", dy);
            write_parameters("train/gradients", 1);
        }
        if (!steps) break;
        double lr = strtod(rates, (char **)&rates);
        rates += strspn(rates, ", \n");
        update(step, lr, momentum, nesterov, decay, decays_all);
        const char *kinds[] = {"state", "gradients", "momentum_buffer"};
        for (int kind = 0; kind < 3; kind++) {
            snprintf(group, sizeof group, "steps/%d/%s", step, kinds[kind]);
            write_parameters(group, kind);
        }
        snprintf(group, sizeof group, "steps/%d/state", step);
        write_running(group);
    }
    return 0;
}
