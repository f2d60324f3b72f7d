// Runs libmtmd on images: `oracle DECODER MMPROJ BEFORE AFTER RAW WIDTH HEIGHT [RAW WIDTH HEIGHT ...]`. Each raw
// file is [height, width, 3] bytes, of one image or of two frames of a video, or, with a height of 0, a sound of as many 32-bit floats as the width says. Prints one
// line of JSON for each, for the prompt BEFORE, the image or sound, AFTER: text as token ids, tiles and chunks with some of
// their embeddings and the positions of those, and log probabilities of the next token.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ggml.h"
#include "llama.h"
#include "mtmd-helper.h"
#include "mtmd.h"

// The rows that are printed of the first tiles and the last one, with the sum of all rows. Others have only their number.
static const size_t tiles_told = 2;
// The numbers that are printed of a row, from its first.
static const int values_told = 256;
// Log probabilities are printed for every this many tokens of the vocabulary.
static const int token_step = 8;

static void silent(ggml_log_level, const char *, void *) {}

static void print(const char * name, const std::vector<double> & values) {
    printf(",\"%s\":[", name);
    for (size_t i = 0; i < values.size(); i++) printf("%s%.5g", i ? "," : "", values[i]);
    printf("]");
}

static void print_tile(mtmd_context * context, const mtmd_input_chunk * chunk, int width, llama_pos past, bool told) {
    const size_t n = mtmd_input_chunk_get_n_tokens(chunk);
    printf("{\"tokens\":%zu,\"next\":%d", n, past + mtmd_input_chunk_get_n_pos(chunk));
    if (told) {
        if (mtmd_encode_chunk(context, chunk) != 0) exit(4);
        const float * embeddings = mtmd_get_output_embd(context);
        const mtmd_image_tokens * image = mtmd_input_chunk_get_tokens_image(chunk);
        const int shown = std::min(width, values_told);
        std::vector<double> sum(shown, 0);
        for (size_t i = 0; i < n; i++) for (int j = 0; j < shown; j++) sum[j] += embeddings[i * width + j];
        print("sum", sum);
        printf(",\"rows\":[");
        std::vector<size_t> rows = { 0, n / 3, n - 1 };
        rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
        for (size_t row : rows) {
            printf("%s{\"row\":%zu", row ? "," : "", row);
            if (image) {
                const mtmd_decoder_pos at = mtmd_image_tokens_get_decoder_pos(image, past, row);
                printf(",\"position\":[%u,%u,%u]", at.t, at.y, at.x);
            }
            print("values", std::vector<double>(embeddings + row * width, embeddings + row * width + shown));
            printf("}");
        }
        printf("]");
    }
    printf("}");
}

int main(int argc, char ** argv) {
    ggml_log_set(silent, nullptr);
    llama_log_set(silent, nullptr);
    mtmd_log_set(silent, nullptr);
    mtmd_helper_log_set(silent, nullptr);
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return 1;
    mtmd_context_params params = mtmd_context_params_default();
    params.use_gpu = false;
    params.n_threads = 1;
    params.warmup = false;
    // Flash attention sums in 16 bits if heads do not fill the processor's registers: over 1500 rows the sums stagnate.
    if (argc > 7 && atoi(argv[7]) == 0) params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    mtmd_context * context = mtmd_init_from_file(argv[2], model, params);
    if (!context) return 2;
    const int width = llama_model_n_embd_inp(model);
    const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    llama_context_params text_params = llama_context_default_params();
    text_params.n_ctx = text_params.n_batch = text_params.n_ubatch = 8192;
    text_params.n_threads = text_params.n_threads_batch = 1;
    // Flash attention sums in 16 bits if a batch has few rows: over thousands of cells the sums stagnate.
    text_params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    text_params.type_k = text_params.type_v = GGML_TYPE_F32;
    llama_context * decoder = llama_init_from_model(model, text_params);
    if (!decoder) return 5;

    for (int at = 5; at + 2 < argc; at += 3) {
        std::ifstream file(argv[at], std::ios::binary);
        std::vector<unsigned char> raw((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
        const int across = atoi(argv[at + 1]), down = atoi(argv[at + 2]);
        const size_t bytes = 3 * across * down;
        const size_t inputs = down == 0 ? 1 : raw.size() / bytes;
        std::vector<mtmd_bitmap *> bitmaps;
        std::string prompt = argv[3];
        for (size_t i = 0; i < inputs; i++) {
            bitmaps.push_back(down == 0 ? mtmd_bitmap_init_from_audio(across, (const float *) raw.data())
                                        : mtmd_bitmap_init(across, down, raw.data() + i * bytes));
            if (inputs > 1) mtmd_bitmap_set_mergeable(bitmaps[i], true);
            prompt += mtmd_default_marker();
        }
        prompt += argv[4];
        mtmd_input_chunks * chunks = mtmd_input_chunks_init();
        mtmd_input_text text = { prompt.c_str(), prompt.size(), false, true };
        std::vector<const mtmd_bitmap *> read(bitmaps.begin(), bitmaps.end());
        if (mtmd_tokenize(context, chunks, &text, read.data(), inputs) != 0) return 3;

        const size_t count = mtmd_input_chunks_size(chunks);
        size_t tiles = 0;
        for (size_t i = 0; i < count; i++)
            tiles += mtmd_input_chunk_get_type(mtmd_input_chunks_get(chunks, i)) != MTMD_INPUT_CHUNK_TYPE_TEXT;
        if (down == 0) printf("{\"samples\":%d,\"layout\":[", across);
        else printf("{\"size\":[%d,%d],\"layout\":[", across, down);
        llama_pos past = 0;
        for (size_t i = 0, tile = 0; i < count; i++) {
            const mtmd_input_chunk * chunk = mtmd_input_chunks_get(chunks, i);
            if (i) printf(",");
            if (mtmd_input_chunk_get_type(chunk) == MTMD_INPUT_CHUNK_TYPE_TEXT) {
                size_t n = 0;
                const llama_token * tokens = mtmd_input_chunk_get_tokens_text(chunk, &n);
                printf("{\"text\":[");
                for (size_t j = 0; j < n; j++) printf("%s%d", j ? "," : "", tokens[j]);
                printf("]}");
            } else {
                tile++;
                print_tile(context, chunk, width, past, tile <= tiles_told || tile == tiles);
            }
            past += mtmd_input_chunk_get_n_pos(chunk);
        }
        printf("]");

        llama_memory_clear(llama_get_memory(decoder), true);
        llama_pos end = 0;
        if (mtmd_helper_eval_chunks(context, decoder, chunks, 0, 0, 8192, true, &end) != 0) return 6;
        const float * logits = llama_get_logits_ith(decoder, -1);
        double sum = 0;
        for (int i = 0; i < vocabulary; i++) sum += std::exp((double) logits[i]);
        std::vector<double> logprobs;
        for (int i = 0; i < vocabulary; i += token_step) logprobs.push_back(logits[i] - std::log(sum));
        print("logprobs", logprobs);
        printf("}\n");
        mtmd_input_chunks_free(chunks);
        for (mtmd_bitmap * bitmap : bitmaps) mtmd_bitmap_free(bitmap);
    }
    return 0;
}
