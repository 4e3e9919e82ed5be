#pragma once
#include <stddef.h>

// The page that the HTTP server shows at /, from page.html.
extern const unsigned char *const turbocam_web_page;
extern const size_t turbocam_web_page_size;
