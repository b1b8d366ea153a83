// Makes and drops binary trees.
#include <stdio.h>
#include <stdlib.h>
struct node { struct node *left, *right; };
static struct node *make(int depth) { struct node *n = malloc(sizeof *n); n->left = depth ? make(depth - 1) : 0; n->right = depth ? make(depth - 1) : 0; return n; }
static int check(struct node *n) { return n->left ? 1 + check(n->left) + check(n->right) : 1; }
static void drop(struct node *n) { if (n->left) { drop(n->left); drop(n->right); } free(n); }
int main(void) { long sum = 0; for (int i = 0; i < 400; i++) { struct node *n = make(13); sum += check(n); drop(n); } printf("%ld\n", sum); }
