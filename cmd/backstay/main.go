// Command backstay backs up and restores self-hosted business applications.
package main

func main() {}
