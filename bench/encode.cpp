// Measures how long libmtmd takes to encode an image: `encode DECODER MMPROJ THREADS LEAST MOST RAW WIDTH HEIGHT FRAMES`. The
// raw file has [frames, height, width, 3] bytes, or, with a height of 0, a sound of as many 32-bit floats as the width says.
// LEAST and MOST limit the number of patches; 0 uses the limits of the vision file. Prints the time from the pixels to the
// embeddings of all tiles in ms, measured in the second of two runs, or, of
// frames, in the only one.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ggml.h"
#include "llama.h"
#include "mtmd.h"

static void silent(ggml_log_level, const char *, void *) {}

int main(int argc, char ** argv) {
    if (argc != 10) return 1;
    ggml_log_set(silent, nullptr);
    llama_log_set(silent, nullptr);
    mtmd_log_set(silent, nullptr);
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return 2;
    mtmd_context_params params = mtmd_context_params_default();
    params.use_gpu = false;
    params.n_threads = atoi(argv[3]);
    if (atoi(argv[4]) > 0) params.image_min_tokens = atoi(argv[4]);
    if (atoi(argv[5]) > 0) params.image_max_tokens = atoi(argv[5]);
    mtmd_context * context = mtmd_init_from_file(argv[2], model, params);
    if (!context) return 3;

    std::ifstream file(argv[6], std::ios::binary);
    std::vector<unsigned char> rgb((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const int width = atoi(argv[7]), height = atoi(argv[8]), frames = atoi(argv[9]);
    std::vector<const mtmd_bitmap *> bitmaps;
    std::string markers;
    for (int i = 0; i < frames; i++) {
        mtmd_bitmap * bitmap = height == 0 ? mtmd_bitmap_init_from_audio(width, (const float *) rgb.data())
                                           : mtmd_bitmap_init(width, height, rgb.data() + (size_t) i * width * height * 3);
        if (frames > 1) mtmd_bitmap_set_mergeable(bitmap, true);
        bitmaps.push_back(bitmap);
        markers += mtmd_default_marker();
    }
    mtmd_input_text text = { markers.c_str(), markers.size(), false, true };

    double ms = 0;
    for (int time = frames > 1 ? 1 : 0; time < 2; time++) {
        const auto start = std::chrono::steady_clock::now();
        mtmd_input_chunks * chunks = mtmd_input_chunks_init();
        if (mtmd_tokenize(context, chunks, &text, bitmaps.data(), bitmaps.size()) != 0) return 4;
        for (size_t i = 0; i < mtmd_input_chunks_size(chunks); i++) {
            const mtmd_input_chunk * chunk = mtmd_input_chunks_get(chunks, i);
            if (mtmd_input_chunk_get_type(chunk) == MTMD_INPUT_CHUNK_TYPE_TEXT) continue;
            if (mtmd_encode_chunk(context, chunk) != 0) return 5;
        }
        ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
        mtmd_input_chunks_free(chunks);
    }
    printf("%f\n", ms);
    return 0;
}
