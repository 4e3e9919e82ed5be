#include "CWebPage.h"

const unsigned char turbocam_web_page[] = {
#embed "page.html"
};
const size_t turbocam_web_page_size = sizeof turbocam_web_page;
