#include "CWebPage.h"

static const unsigned char page[] = {
#embed "page.html"
};
const unsigned char *const turbocam_web_page = page;
const size_t turbocam_web_page_size = sizeof page;
