// What libmtmd makes of pictures: `oracle DECODER MMPROJ RAW WIDTH HEIGHT [RAW WIDTH HEIGHT ...]`. Each raw file is
// [height, width, 3] bytes. Prints one JSON array a picture: text chunks as token ids, pictures' chunks as embeddings.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "ggml.h"
#include "llama.h"
#include "mtmd.h"

static void silent(ggml_log_level, const char *, void *) {}

int main(int argc, char ** argv) {
    ggml_log_set(silent, nullptr);
    llama_log_set(silent, nullptr);
    mtmd_log_set(silent, nullptr);
    llama_model_params model_params = llama_model_default_params();
    llama_model * model = llama_model_load_from_file(argv[1], model_params);
    if (!model) return 1;
    mtmd_context_params params = mtmd_context_params_default();
    params.use_gpu = false;
    params.n_threads = 1;
    params.warmup = false;
    mtmd_context * context = mtmd_init_from_file(argv[2], model, params);
    if (!context) return 2;
    const int width = llama_model_n_embd_inp(model);

    for (int at = 3; at + 2 < argc; at += 3) {
        std::ifstream file(argv[at], std::ios::binary);
        std::vector<unsigned char> rgb((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
        mtmd_bitmap * bitmap = mtmd_bitmap_init(atoi(argv[at + 1]), atoi(argv[at + 2]), rgb.data());
        mtmd_input_chunks * chunks = mtmd_input_chunks_init();
        const char * marker = mtmd_default_marker();
        mtmd_input_text text = { marker, strlen(marker), false, true };
        const mtmd_bitmap * bitmaps[] = { bitmap };
        if (mtmd_tokenize(context, chunks, &text, bitmaps, 1) != 0) return 3;
        printf("[");
        for (size_t i = 0; i < mtmd_input_chunks_size(chunks); i++) {
            const mtmd_input_chunk * chunk = mtmd_input_chunks_get(chunks, i);
            printf(i ? ",\n" : "\n");
            if (mtmd_input_chunk_get_type(chunk) == MTMD_INPUT_CHUNK_TYPE_TEXT) {
                size_t n = 0;
                const llama_token * tokens = mtmd_input_chunk_get_tokens_text(chunk, &n);
                printf("{\"text\":[");
                for (size_t j = 0; j < n; j++) printf("%s%d", j ? "," : "", tokens[j]);
                printf("]}");
                continue;
            }
            if (mtmd_encode_chunk(context, chunk) != 0) return 4;
            const size_t n = mtmd_input_chunk_get_n_tokens(chunk);
            const float * embeddings = mtmd_get_output_embd(context);
            printf("{\"tokens\":%zu,\"embeddings\":[", n);
            for (size_t j = 0; j < n * width; j++) printf("%s%.6g", j ? "," : "", embeddings[j]);
            printf("]}");
        }
        printf("\n]\n");
        mtmd_input_chunks_free(chunks);
        mtmd_bitmap_free(bitmap);
    }
    return 0;
}
