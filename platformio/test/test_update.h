/* The groups of tests. */
#ifndef TEST_UPDATE_H
#define TEST_UPDATE_H

void test_update(void);
void test_download(void);
void test_refusal(void);
void test_parts(void);
void test_chip(void);
void test_history(void);

#endif
